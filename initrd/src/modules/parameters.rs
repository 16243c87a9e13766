//! What the kernel command line says about modules, as modprobe(8) understands it: `NAME.KEY=VALUE` and
//! `modprobe.blacklist=NAME,…`.

use std::collections::{BTreeMap, BTreeSet};

/// What modules are told where the command line says nothing else, since of two values the later one counts.
///
/// loop makes eight devices in advance, which takes an emulated machine 20 ms; with 0 it makes each when it is asked for
/// (Linux, drivers/block/loop.c).
const DEFAULTS: [(&str, &str); 1] = [("loop", "max_loop=0")];

/// Parameters and refusals by module name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters {
    of: BTreeMap<String, String>,
    refused: BTreeSet<String>,
}

impl Parameters {
    /// Reads a command line; what is no module's is passed over.
    pub fn parse(cmdline: &str) -> Self {
        let mut parameters = Self::default();
        for word in words(cmdline) {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let Some((module, key)) = key.split_once('.') else {
                continue;
            };
            let module = module.replace('-', "_");
            if module == "modprobe" && key == "blacklist" {
                parameters.refused.extend(value.split(',').map(|name| name.replace('-', "_")));
                continue;
            }
            let text = parameters.of.entry(module).or_default();
            if !text.is_empty() {
                text.push(' ');
            }
            let argument = word.split_once('.').map_or("", |(_, argument)| argument);
            text.push_str(argument);
        }
        parameters
    }

    /// The text for finit_module(2): `KEY=VALUE` words.
    pub fn of(&self, module: &str) -> String {
        let defaults = DEFAULTS.iter().filter(|(name, _)| *name == module).map(|(_, text)| *text);
        let texts: Vec<_> = defaults.chain(self.of.get(module).map(String::as_str)).collect();
        texts.join(" ")
    }

    /// Whether the command line forbids loading this module for a device.
    pub fn refuses(&self, module: &str) -> bool {
        self.refused.contains(module)
    }
}

/// Words parted by white space that is not between double quotes, up to `--`; the quotes stay, for the kernel to read.
fn words(cmdline: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    cmdline
        .split(move |character: char| {
            quoted ^= character == '"';
            character.is_ascii_whitespace() && !quoted
        })
        .take_while(|word| *word != "--")
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_parameters_are_found_by_name() {
        let parameters = Parameters::parse(
            "quiet loop.max_loop=64 usb-storage.quirks=1:2:u loop.hw_queue_depth=8 \
             modprobe.blacklist=floppy,usb-storage x.y=\"a b\" flag.set -- loop.max_loop=1",
        );
        for (module, expected) in [
            ("loop", "max_loop=0 max_loop=64 hw_queue_depth=8"),
            ("usb_storage", "quirks=1:2:u"),
            ("x", "y=\"a b\""),
            ("flag", "set"),
            ("quiet", ""),
        ] {
            assert_eq!(parameters.of(module), expected, "{module}");
        }
        assert_eq!(Parameters::default().of("loop"), "max_loop=0");
        assert!(parameters.refuses("floppy") && parameters.refuses("usb_storage"));
        assert!(!parameters.refuses("loop"));
    }
}
