//! Inputs of every kind: those that are right, those that are nearly so, anything.

use layers::attempts::Attempts;
use layers::generation::{Base, Generation, Layer, SCHEMA};
use layers::id::{Digest, GenerationId, Name, SetName, Version};
use layers::index::Index;
use layers::kernel::{Blob, Kernel, check_option};
use layers::lowers::{LowerImage, LowerImages};
use layers::machine_id::MachineId;
use layers::manifest::{Kind, Links, Manifest, Verity};
use layers::os::{Fits, Os};
use layers::plan::boot::{BootFacts, EtcSource, Pointers, UpperFacts};
use layers::policy::{Dir, EtcPolicy, HomePolicy, Mode, Policy, Scope, VarPolicy};
use layers::requirement::{Comparison, Requirement};
use layers::reset::Reset;
use layers::size::Size;
use layers::superblock::Format;
use layers::trigger::Trigger;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// Any text, with the characters that mean something somewhere more often.
pub(crate) fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,80}",
        "[a-z0-9.,=\"' \t\n/_+~^-]{0,80}",
        vec(any::<char>(), 0..40).prop_map(String::from_iter),
    ]
}

pub(crate) fn name() -> impl Strategy<Value = Name> {
    "[A-Za-z0-9][A-Za-z0-9+.-]{0,63}".prop_map(|text| text.parse().unwrap())
}

/// A few names, so that they meet.
pub(crate) fn few_names() -> impl Strategy<Value = Name> {
    select(vec!["a", "b", "c", "d", "e"]).prop_map(|text| text.parse().unwrap())
}

pub(crate) fn version() -> impl Strategy<Value = Version> {
    "[A-Za-z0-9][A-Za-z0-9+.~^-]{0,127}".prop_map(|text| text.parse().unwrap())
}

pub(crate) fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::new)
}

pub(crate) fn id() -> impl Strategy<Value = GenerationId> {
    prop_oneof![1..8_u32, 1..=u32::MAX].prop_map(|number| number.to_string().parse().unwrap())
}

pub(crate) fn format() -> impl Strategy<Value = Format> {
    select(vec![Format::Squashfs, Format::Erofs])
}

pub(crate) fn dirs() -> impl Strategy<Value = Vec<String>> {
    subsequence(vec!["etc", "home", "usr", "var"], 0..=4)
        .prop_map(|dirs| dirs.into_iter().map(str::to_owned).collect())
}

/// Absolute paths below `dir`; with `/` anywhere.
pub(crate) fn paths_below(dir: &'static str) -> impl Strategy<Value = Vec<String>> {
    let path = "(/[a-z*][a-z.*-]{0,8}){1,3}";
    vec(path, 0..3).prop_map(move |paths| paths.iter().map(|path| dir.to_owned() + path).collect())
}

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    let mode = || select(vec![Mode::Persistent, Mode::Frozen, Mode::Ephemeral]);
    let size = || {
        proptest::option::of(prop_oneof![
            (1..=100_u8).prop_map(Size::Percent),
            (4096..=u64::MAX).prop_map(Size::Bytes)
        ])
    };
    let scope = select(vec![Scope::Generation, Scope::Shared]);
    let etc = (mode(), scope, paths_below("/etc"), size(), any::<bool>())
        .prop_map(|(mode, scope, keep, size, audit)| EtcPolicy { mode, scope, keep, size, audit });
    let var = (mode(), paths_below("/var"), paths_below(""), paths_below("/var"), size())
        .prop_map(|(mode, bind, owned, keep, size)| VarPolicy { mode, bind, owned, keep, size });
    let home = (mode(), paths_below("/home"), size()).prop_map(|(mode, keep, size)| HomePolicy {
        mode,
        keep,
        size,
    });
    (etc, var, home).prop_map(|(etc, var, home)| Policy { etc, var, home })
}

/// What an upper lay over: some images of the generation and some that are not there, or nobody knows.
pub(crate) fn lowers(digests: &[Digest]) -> impl Strategy<Value = Option<LowerImages>> + use<> {
    let mut digests = digests.to_vec();
    digests.push(Digest::new([0xdd; 32]));
    let image = (select(digests), dirs()).prop_map(|(digest, dirs)| LowerImage { digest, dirs });
    // A stack has each image once.
    let distinct = vec(image, 0..4).prop_map(|mut images| {
        images.sort();
        images.dedup_by_key(|image| image.digest);
        LowerImages(images)
    });
    proptest::option::of(distinct)
}

pub(crate) fn upper(digests: &[Digest]) -> impl Strategy<Value = UpperFacts> + use<> {
    (lowers(digests), lowers(digests)).prop_map(|(lowers, presets)| UpperFacts { lowers, presets })
}

prop_compose! {
    fn requirement()(name in name(), bounds in vec((0..5_usize, version()), 0..3)) -> Requirement {
        use Comparison::{AtLeast, AtMost, Equal, Greater, Less};
        let sign = |at: usize| [Less, AtMost, Equal, AtLeast, Greater][at];
        let bounds = bounds.into_iter().map(|(at, version)| (sign(at), version)).collect();
        Requirement { name, bounds }
    }
}

/// What a manifest says of systems and libraries.
fn about() -> impl Strategy<Value = (Option<Os>, Option<Fits>, Links)> {
    let text = || ".{0,9}";
    let maybe = || proptest::option::of(".{0,9}");
    let os = (text(), vec(text(), 0..3), maybe(), maybe(), maybe()).prop_map(
        |(id, id_like, version_id, sysext_level, build_id)| Os {
            id,
            id_like,
            version_id,
            sysext_level,
            build_id,
        },
    );
    let fits = (text(), maybe(), maybe(), maybe(), vec(text(), 0..3)).prop_map(
        |(id, version_id, sysext_level, build_id, scope)| Fits {
            id,
            version_id,
            sysext_level,
            build_id,
            scope,
        },
    );
    let links = (vec(text(), 0..3), vec(text(), 0..3))
        .prop_map(|(needs, provides)| Links { needs, provides });
    (proptest::option::of(os), proptest::option::of(fits), links)
}

prop_compose! {
    pub(crate) fn manifest()(
        name in name(), version in version(), base in any::<bool>(), architecture in ".{0,9}",
        format in format(), size in 0..=i64::MAX as u64, digest in digest(), dirs in dirs(),
        kernels in vec(".{0,9}", 0..3), requires in vec(requirement(), 0..3), required in any::<bool>(),
        deletes in vec(".{0,9}", 0..3), marks_good in any::<bool>(),
        conflicts in vec(requirement(), 0..3), packages in vec(".{0,9}", 0..3), (os, fits, links) in about(),
        (grants, verity) in signed(),
    ) -> Manifest {
        let kind = if base { Kind::Base } else { Kind::Layer };
        Manifest {
            schema: layers::manifest::SCHEMA, name, version, kind, architecture, format, size,
            digest, dirs, kernels, marks_good, requires, required, deletes,
            conflicts, packages, os, fits, links, grants, verity,
        }
    }
}

/// What a manifest says for its signature.
fn signed() -> impl Strategy<Value = (Vec<String>, Option<Verity>)> {
    let verity = (digest(), "([0-9a-f]{2}){0,32}", 0..=i64::MAX as u64, digest());
    let verity = verity.prop_map(|(root, salt, data_blocks, fsverity)| Verity {
        root,
        salt,
        data_blocks,
        fsverity,
    });
    (vec(".{0,9}", 0..3), proptest::option::of(verity))
}

prop_compose! {
    /// A layer whose needs are of the first `names`.
    pub(crate) fn layer(name: Name, names: Vec<Name>)(
        version in version(), digest in digest(), dirs in dirs(), requested in any::<bool>(),
        required in prop::bool::weighted(0.1), requires in subsequence(names.clone(), 0..=names.len().min(2)),
        conflicts in subsequence(names.clone(), 0..=names.len().min(2)),
    ) -> Layer {
        let conflicts = conflicts.into_iter().filter(|other| *other != name).collect();
        Layer { name: name.clone(), version, digest, dirs, requested, required, requires, conflicts }
    }
}

/// Kernel arguments and a kernel.
pub(crate) fn start() -> impl Strategy<Value = (Vec<String>, Option<Kernel>)> {
    let option = prop_oneof!["[a-z_.-]{1,9}(=[a-z0-9,:/=]{0,9})?", "[a-z]{1,3}=\"[a-z ]{0,9}\""];
    let option = option.prop_filter("no argument", |option| check_option(option).is_ok());
    let blob = || (digest(), 0..=i64::MAX as u64).prop_map(|(digest, size)| Blob { digest, size });
    let kernel = ("[0-9][0-9a-z.+-]{0,63}", blob(), blob())
        .prop_map(|(version, linux, initrd)| Kernel { version, linux, initrd });
    (vec(option, 0..4), proptest::option::of(kernel))
}

/// Generations that fit together, with up to five layers.
pub(crate) fn generation() -> impl Strategy<Value = Generation> {
    let layers = btree_set(few_names(), 0..=5).prop_flat_map(|names| {
        let names: Vec<Name> = names.into_iter().collect();
        names.iter().map(|name| layer(name.clone(), names.clone())).collect::<Vec<_>>()
    });
    layers
        .prop_flat_map(|layers| {
            let names: Vec<Name> = layers.iter().map(|layer| layer.name.clone()).collect();
            let members = || subsequence(names.clone(), 0..=names.len());
            let sets = btree_map(few_names().prop_map(|name| set(name.as_str())), members(), 0..3);
            let some = names.len().min(1)..=names.len();
            let trigger = (subsequence(names.clone(), some), digest(), dirs());
            let trigger = (trigger, proptest::option::of(digest())).prop_map(
                |((layers, inputs, dirs), digest)| Trigger { layers, inputs, digest, dirs },
            );
            let asked = (
                vec(trigger, if names.is_empty() { 0..1 } else { 0..3 }),
                vec("[a-z :]{1,9}", 0..3),
                vec((digest(), vec(0..names.len() + 2, 1..4)), 0..3),
            );
            let rest = (id(), proptest::option::of(id()), ".{0,9}", policy(), start(), asked);
            let base = (version(), digest(), dirs(), vec("[0-9a-z.+-]{1,9}", 0..3), any::<bool>());
            (Just(layers), members(), sets, rest, base)
        })
        .prop_map(|(layers, default, mut sets, rest, base)| {
            let (id, parent, reason, writable, (options, kernel), (triggers, requests, indexes)) =
                rest;
            let (version, digest, dirs, kernels, marks_good) = base;
            sets.insert(SetName::default_set(), default);
            let name = "debian".parse().unwrap();
            let base = Base { name, version, digest, dirs, kernels, marks_good };
            // Of the base and as many layers as there are before this one.
            let inputs = |count| {
                let layers = layers.iter().take(count).map(|layer| layer.digest);
                Index::inputs_of(std::iter::once(digest).chain(layers))
            };
            let indexes = indexes.into_iter().enumerate();
            let indexes = indexes
                .map(|(n, (image, data))| {
                    let inputs = inputs(layers.len().saturating_sub(n));
                    Index { digest: image, data, inputs }
                })
                .collect();
            let (schema, created) = (SCHEMA, "2026-11-21T09:00:00Z".to_owned());
            Generation {
                schema,
                id,
                parent,
                created,
                reason,
                options,
                base,
                kernel,
                layers,
                sets,
                triggers,
                indexes,
                requests,
                writable,
            }
        })
}

pub(crate) fn set(name: &str) -> SetName {
    name.parse().unwrap()
}

/// Words of a command line: right keys with right and wrong values, wrong keys, anything.
pub(crate) fn cmdline() -> impl Strategy<Value = String> {
    let keys = vec![
        "root",
        "init",
        "layers.state",
        "layers.generation",
        "layers.set",
        "layers.add",
        "layers.skip",
        "layers.ephemeral",
        "layers.frozen",
        "layers.wipe",
        "layers.onfail",
        "layers.timeout",
        "layers.plan",
        "layers.verify",
        "layers.",
        "layers.other",
        "quiet",
        "--",
    ];
    let values = vec![
        "a", "b", "c,d", "e,z", "none", "default", "none,a", "etc", "var,home", "/etc", "etc,opt",
        "1", "7", "0", "previous", "reboot", "30", "LABEL=x", "/dev/vda", "", ",", "\"a b\"", "\"",
    ];
    let value = prop_oneof![select(values).prop_map(str::to_owned), any_text()];
    let word = (select(keys), proptest::option::of(value)).prop_map(|(key, value)| match value {
        Some(value) => format!("{key}={value}"),
        None => key.to_owned(),
    });
    vec(word, 0..8).prop_map(|words| words.join(" "))
}

/// One change to a text: some of it taken away, doubled or replaced.
pub(crate) fn mutated(text: String) -> impl Strategy<Value = String> {
    let length = text.len();
    (0..=length, 0..=40_usize, any_text(), 0..3).prop_map(move |(at, span, new, kind)| {
        let near = |mut at: usize| {
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (from, to) = (near(at), near((at + span).min(length)));
        let (head, middle, tail) = (&text[..from], &text[from..to], &text[to..]);
        match kind {
            0 => format!("{head}{tail}"),
            1 => format!("{head}{middle}{middle}{tail}"),
            _ => format!("{head}{new}{tail}"),
        }
    })
}

pub(crate) fn facts(generation: &Generation) -> impl Strategy<Value = BootFacts> + use<> {
    let digests: Vec<Digest> = generation.digests().collect();
    let image = prop_oneof![
        8 => format().prop_map(|format| Some(Ok(format))),
        1 => Just(Some(Err("is damaged".to_owned()))),
        1 => Just(None),
    ];
    let kernels = [generation.base.kernels.clone(), vec!["other".to_owned()]].concat();
    let near = || prop_oneof![Just(generation.id), id()];
    let pointer = || proptest::option::of(near());
    let uppers = (
        proptest::option::of(upper(&digests)),
        proptest::option::of((proptest::option::of(near()), upper(&digests))),
        proptest::option::of(upper(&digests)),
        proptest::option::of(upper(&digests)),
    );
    let why = || proptest::option::weighted(0.2, Just("it is damaged".to_owned()));
    let bound = generation.writable.bound_in_var();
    let unbindable = subsequence(bound.clone(), 0..=bound.len().min(1));
    let unusable = subsequence(Dir::ALL.to_vec(), 0..=1);
    let resets = vec!["dirs = [\"etc\", \"var\"]", "dirs = [\"home\"]\nkeep = [\"/home/a\"]", "no"];
    let reset = proptest::option::weighted(0.3, select(resets));
    (
        vec(image, digests.len()),
        uppers,
        (unbindable, unusable, why(), reset),
        [pointer(), pointer(), pointer(), pointer()],
        (proptest::option::weighted(0.5, select(kernels)), proptest::option::of(any::<u8>())),
        why(),
    )
        .prop_map(move |(images, uppers, faults, pointers, (kernel, attempts), read_only)| {
            let looked = digests.iter().copied().zip(images);
            let (etc, source, var, home) = uppers;
            let (unbindable, unusable, underivable, reset) = faults;
            let [default, next, good, ran] = pointers;
            let why = || "it is damaged".to_owned();
            BootFacts {
                hashed: false,
                images: looked.filter_map(|(digest, image)| Some((digest, image?))).collect(),
                etc,
                etc_source: source.map(|(owner, upper)| EtcSource { owner, upper }),
                etc_problem: None,
                var,
                home,
                occupied: bound.iter().take(1).cloned().collect(),
                unmoved: bound.iter().skip(1).take(1).cloned().collect(),
                unbindable: unbindable.into_iter().map(|path| (path, why())).collect(),
                unusable: unusable.into_iter().map(|dir| (dir, why())).collect(),
                underivable,
                reset: reset.map(Reset::parse),
                machine_id: MachineId::derive("4C4C4544-0042-3510-8052-B4C04F4A5931", "a"),
                pointers: Pointers { default, next, good, ran },
                attempts: attempts.map(Attempts),
                kernel,
                read_only,
                ..BootFacts::default()
            }
        })
}
