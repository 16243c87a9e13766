//! Which operating system a base is, and which one a layer fits: os-release(5) and extension-release.

use serde::{Deserialize, Serialize};

/// The `ID=` of an extension that fits every system (os-release(5), extension-release).
pub const ANY: &str = "_any";

/// A base's identity, from its os-release(5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Os {
    /// `ID=`
    pub id: String,
    /// `ID_LIKE=`, the nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub id_like: Vec<String>,
    /// `VERSION_ID=`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// `SYSEXT_LEVEL=`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysext_level: Option<String>,
    /// `BUILD_ID=`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
}

/// The systems that a layer fits, from its extension-release; its architecture stands in the manifest's own key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fits {
    /// `ID=`, or [`ANY`].
    pub id: String,
    /// `VERSION_ID=`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// `SYSEXT_LEVEL=`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysext_level: Option<String>,
    /// The one build of the base that it fits, if it is bound to one: its `BUILD_ID=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// `SYSEXT_SCOPE=`; systemd's default without: `system` and `portable`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
}
