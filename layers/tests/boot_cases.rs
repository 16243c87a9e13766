//! How a generation boots: each directory of `cases/boot` is a command line, a generation and facts, with the plan or
//! the refusal that must come out. Every plan passes the checker.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads its cases and ends with the first surprise"
)]

mod case;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use layers::attempts::Attempts;
use layers::cmdline::BootRequest;
use layers::generation::{Generation, LAYERS_MAX, Layer};
use layers::id::{Digest, GenerationId};
use layers::layout::BootPaths;
use layers::lowers::{LowerImage, LowerImages};
use layers::machine_id::MachineId;
use layers::manifest::Verity;
use layers::plan::boot::{
    BootFacts, BootPlan, Choices, EtcOrigin, EtcSource, EtcUppers, Pointers, UpperFacts,
    candidates, etc_origin, missing_choice, passed_over, plan_boot,
};
use layers::plan::check::check_boot;
use layers::plan::{Cover, Op};
use layers::policy::{Dir, Scope};
use layers::reset::Reset;
use layers::superblock::Format;
use layers::trust::OnCorruption;
use serde::Deserialize;

/// `facts.toml`: how a case departs from a store in which every image is there, a squashfs base and EROFS layers, that
/// never booted. Images go by the name of the layer, `base` for the base.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Facts {
    /// Images that nobody looked at, because they are not there.
    absent: Vec<String>,
    /// Images that cannot be used, and why.
    broken: BTreeMap<String, String>,
    /// Images that are not trusted, and why.
    untrusted: BTreeMap<String, String>,
    /// Images that are signed.
    covered: Vec<String>,
    formats: BTreeMap<String, Format>,
    /// Images of earlier boots: their top-level directories.
    old: BTreeMap<String, Vec<String>>,
    /// Generations that have an /etc upper; whether there is a shared one.
    etc_uppers: BTreeSet<GenerationId>,
    shared_etc: bool,
    /// The scope of the generation that ran last.
    ran_scope: Scope,
    shared_uppers: Vec<Dir>,
    /// What the uppers lay over, topmost first, where that is not all images of the generation; `[]` for unknown.
    lowers: Lowers,
    occupied: BTreeSet<String>,
    unbindable: BTreeMap<String, String>,
    unusable: BTreeMap<Dir, String>,
    underivable: Option<String>,
    /// The hardware's UUID.
    hardware: Option<String>,
    /// The text of boot/reset.
    reset: Option<String>,
    pointers: CasePointers,
    /// Starts left.
    attempts: Option<u8>,
    kernel: Option<String>,
    read_only: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CasePointers {
    default: Option<GenerationId>,
    next: Option<GenerationId>,
    good: Option<GenerationId>,
    ran: Option<GenerationId>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Lowers {
    etc: Option<Vec<String>>,
    var: Option<Vec<String>>,
    home: Option<Vec<String>>,
    presets: Option<Vec<String>>,
}

/// The digest of an image of an earlier boot.
fn old_digest(name: &str) -> Digest {
    let mut bytes = [0x0d; 32];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    Digest::new(bytes)
}

impl Facts {
    /// Images by name; without names all of the generation.
    fn images(&self, generation: &Generation, names: &Option<Vec<String>>) -> Option<LowerImages> {
        let layers = generation.layers.iter().rev();
        let layers = layers.map(|layer| (layer.name.as_str(), layer.digest, &layer.dirs));
        let base = &generation.base;
        let all: Vec<_> = layers.chain([("base", base.digest, &base.dirs)]).collect();
        let image = |digest, dirs: &[String]| LowerImage { digest, dirs: dirs.into() };
        let named = |name: &String| match all.iter().find(|one| one.0 == name) {
            Some((_, digest, dirs)) => image(*digest, dirs),
            None => image(old_digest(name), &self.old[name]),
        };
        match names {
            None => Some(LowerImages(
                all.iter().map(|(_, digest, dirs)| image(*digest, dirs)).collect(),
            )),
            Some(names) if names.is_empty() => None,
            Some(names) => Some(LowerImages(names.iter().map(named).collect())),
        }
    }

    fn load(case: &Path) -> Self {
        let path = case.join("facts.toml");
        if !path.exists() {
            return Self::default();
        }
        let text = case::text(case, "facts.toml");
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn of(self, generation: &Generation) -> BootFacts {
        let layers = generation
            .layers
            .iter()
            .map(|layer| (layer.name.as_str(), layer.digest, Format::Erofs));
        let all = [("base", generation.base.digest, Format::Squashfs)];
        let triggers = generation.triggers.iter().filter_map(|trigger| trigger.digest);
        let triggers = triggers.zip(["trigger-1", "trigger-2", "trigger-3"]);
        let indexes = generation.indexes.iter().map(|index| index.digest);
        let indexes = indexes.zip(["index-1", "index-2", "index-3"]);
        let all: Vec<_> = all
            .into_iter()
            .chain(layers)
            .chain(triggers.chain(indexes).map(|(digest, name)| (name, digest, Format::Erofs)))
            .collect();
        let named: Vec<_> = all.iter().map(|(name, digest, _)| (*name, *digest)).collect();
        let images: Vec<_> = all
            .into_iter()
            .filter(|(name, ..)| !self.absent.iter().any(|absent| absent == name))
            .map(|(name, digest, usual)| {
                let format = self.formats.get(name).copied().unwrap_or(usual);
                (digest, self.broken.get(name).map_or(Ok(format), |why| Err(why.clone())))
            })
            .collect();
        let old = self.old.keys().filter(|name| !self.absent.contains(name)).map(|name| {
            let format = self.formats.get(name).copied().unwrap_or(Format::Erofs);
            (old_digest(name), self.broken.get(name).map_or(Ok(format), |why| Err(why.clone())))
        });
        let images: BTreeMap<_, _> = BTreeMap::from_iter(images).into_iter().chain(old).collect();
        let trust = |name: &str, digest: Digest, trusted: &mut Trusted| {
            if let Some(why) = self.untrusted.get(name) {
                trusted.images.insert(digest, Err(why.clone()));
                trusted.untrusted.insert(digest);
            }
            if self.covered.iter().any(|covered| covered == name) {
                trusted.covers.insert(digest, cover(digest));
            }
        };
        let mut trusted = Trusted { images, ..Trusted::default() };
        named.iter().for_each(|(name, digest)| trust(name, *digest, &mut trusted));
        self.old.keys().for_each(|name| trust(name, old_digest(name), &mut trusted));
        let upper = |lowers| UpperFacts { lowers: self.images(generation, lowers), presets: None };
        let etc = UpperFacts {
            presets: self.images(generation, &self.lowers.presets),
            ..upper(&self.lowers.etc)
        };
        let pointers = Pointers {
            default: self.pointers.default,
            next: self.pointers.next,
            good: self.pointers.good,
            ran: self.pointers.ran,
        };
        let scope = generation.writable.etc.scope;
        let uppers = EtcUppers {
            own: self.etc_uppers.clone(),
            shared: self.shared_etc,
            ran_scope: self.ran_scope,
        };
        let (origin, etc_problem) = etc_origin(generation.id, scope, &pointers, &uppers);
        let shared = |dir, lowers| self.shared_uppers.contains(&dir).then(|| upper(lowers));
        BootFacts {
            images: trusted.images,
            covers: trusted.covers,
            untrusted: trusted.untrusted,
            etc: (origin == EtcOrigin::Own).then(|| etc.clone()),
            etc_source: match origin {
                EtcOrigin::Other(owner) => Some(EtcSource { owner, upper: etc }),
                _ => None,
            },
            etc_problem,
            var: shared(Dir::Var, &self.lowers.var),
            home: shared(Dir::Home, &self.lowers.home),
            occupied: self.occupied,
            unmoved: BTreeSet::new(),
            unbindable: self.unbindable,
            unusable: self.unusable,
            underivable: self.underivable,
            reset: self.reset.map(|text| Reset::parse(&text)),
            machine_id: self.hardware.and_then(|hardware| MachineId::derive(&hardware, "state")),
            pointers,
            attempts: self.attempts.map(Attempts),
            kernel: self.kernel,
            read_only: self.read_only,
            ..BootFacts::default()
        }
    }
}

/// What is known of images and their signatures.
#[derive(Default)]
struct Trusted {
    images: BTreeMap<Digest, Result<Format, String>>,
    covers: BTreeMap<Digest, Cover>,
    untrusted: BTreeSet<Digest>,
}

fn cover(digest: Digest) -> Cover {
    let verity = Verity { root: digest, salt: "00".into(), data_blocks: 1, fsverity: digest };
    Cover { verity, tree: "/tree".into(), corruption: OnCorruption::Eio }
}

fn show(boot: &BootPlan) -> String {
    let names: Vec<&str> = boot.layers.iter().map(|name| name.as_str()).collect();
    let mut text = format!("layers [{}]\n", names.join(" "));
    for skipped in &boot.skipped {
        writeln!(text, "skipped {}: {}", skipped.name, skipped.why).unwrap();
    }
    for problem in &boot.problems {
        writeln!(text, "problem {problem}").unwrap();
    }
    for writable in &boot.writable {
        let wiped = if writable.wiped { " wiped" } else { "" };
        writeln!(text, "writable /{} {}{wiped}", writable.dir, writable.mode).unwrap();
    }
    if boot.plan.ops.iter().any(|op| matches!(op, Op::MountImage { cover: Some(_), .. })) {
        let names: Vec<&str> = boot.unsigned.iter().map(|name| name.as_str()).collect();
        writeln!(text, "unsigned [{}]", names.join(" ")).unwrap();
    }
    text.push('\n');
    boot.claims.ops.iter().for_each(|claim| writeln!(text, "first {claim}").unwrap());
    writeln!(text, "{}", boot.plan).unwrap();
    boot.records.ops.iter().for_each(|record| writeln!(text, "then {record}").unwrap());
    boot.presets.iter().for_each(|presets| writeln!(text, "then {presets}").unwrap());
    text
}

fn outcome(case: &Path) -> Result<String, String> {
    let generation = Generation::parse(&case::text(case, "generation.toml"))
        .map_err(|error| error.to_string())?;
    let request = BootRequest::parse(&case::text(case, "cmdline"));
    let facts = Facts::load(case).of(&generation);
    let paths = BootPaths::default();
    let boot =
        plan_boot(&request, &generation, &facts, &paths).map_err(|refusal| refusal.to_string())?;
    let whole = boot.whole();
    check_boot(&whole, &paths).unwrap_or_else(|fault| panic!("{}: {fault}", case.display()));
    Ok(show(&boot))
}

#[test]
fn every_boot_case_gives_its_plan_or_its_refusal() {
    case::run_all("boot", 70, outcome);
}

fn id(number: u32) -> GenerationId {
    number.to_string().parse().unwrap()
}

/// Of `count` layers, named so that the mount paths are as long as names allow.
fn generation_of(count: u32) -> Generation {
    let digest = |number: u32| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        Digest::new(bytes)
    };
    let layers: Vec<Layer> = (1..=count)
        .map(|number| Layer {
            name: format!("{}{number:04}", "l".repeat(60)).parse().unwrap(),
            version: "1".parse().unwrap(),
            digest: digest(number),
            dirs: vec!["etc".into(), "usr".into()],
            requested: true,
            required: false,
            requires: Vec::new(),
            conflicts: Vec::new(),
        })
        .collect();
    let mut generation = Generation::parse(&format!(
        "schema = 1\nid = 1\ncreated = \"t\"\nreason = \"r\"\nsets.default = []\n\
         base = {{ name = \"debian\", version = \"13\", digest = \"{}\", dirs = [\"etc\"] }}\n",
        digest(0)
    ))
    .unwrap();
    let names = layers.iter().map(|layer| layer.name.clone()).collect();
    generation.sets.insert("default".parse().unwrap(), names);
    generation.layers = layers;
    generation
}

#[test]
fn as_many_layers_as_overlayfs_takes_make_one_flat_overlay() {
    let count = u32::try_from(LAYERS_MAX).unwrap();
    let generation = Generation::parse(&generation_of(count).to_string()).unwrap();
    let facts = Facts::default().of(&generation);
    let paths = BootPaths::default();
    let boot = plan_boot(&BootRequest::default(), &generation, &facts, &paths).unwrap();
    check_boot(&boot.plan, &paths).unwrap();
    let root = boot.plan.ops.iter().find_map(|op| match op {
        Op::MountOverlay(overlay) if overlay.at == paths.sysroot => Some(overlay),
        _ => None,
    });
    let lowers = &root.unwrap().lowers;
    assert_eq!(lowers.len(), LAYERS_MAX + 1);
    assert_eq!(lowers[0], paths.layer(&generation.layers[LAYERS_MAX - 1].name));
    assert_eq!(lowers[LAYERS_MAX], paths.base());
}

#[test]
fn one_layer_more_is_no_generation() {
    let count = u32::try_from(LAYERS_MAX).unwrap() + 1;
    let error = Generation::parse(&generation_of(count).to_string()).unwrap_err();
    assert_eq!(error.to_string(), "contradicts itself: 500 layers; at most 499 fit");
}

#[test]
fn candidates_come_in_order_and_each_once() {
    // Command line; next, default, good (0: not there); generations of the store; what is tried.
    type Case = (&'static str, [u32; 3], &'static [u32], &'static [u32]);
    let cases: &[Case] = &[
        ("", [0, 0, 0], &[], &[]),
        ("", [0, 3, 0], &[1, 2, 3], &[3, 2, 1]),
        ("", [0, 2, 0], &[1, 2, 3], &[2, 3, 1]),
        ("", [0, 3, 1], &[1, 2, 3], &[3, 1, 2]),
        ("", [4, 3, 1], &[1, 2, 3, 4], &[4, 3, 1, 2]),
        ("", [3, 3, 3], &[1, 2, 3], &[3, 2, 1]),
        ("", [0, 0, 0], &[1, 2, 3], &[3, 2, 1]),
        ("layers.generation=1", [4, 3, 2], &[1, 2, 3, 4], &[1, 4, 3, 2]),
        ("layers.generation=3", [0, 3, 2], &[1, 2, 3], &[3, 2, 1]),
        ("layers.generation=default", [4, 3, 0], &[1, 3, 4], &[4, 3, 1]),
        ("layers.generation=previous", [0, 3, 0], &[1, 2, 3], &[2, 3, 1]),
        ("layers.generation=previous", [0, 5, 0], &[1, 3, 5, 6], &[3, 5, 6, 1]),
        ("layers.generation=previous", [0, 1, 0], &[1, 2], &[1, 2]),
        // A number that is not there is tried, fails, and the next one boots.
        ("layers.generation=9", [0, 2, 0], &[1, 2], &[9, 2, 1]),
        // So does a pointer to a generation that is gone.
        ("", [0, 9, 0], &[1, 2], &[9, 2, 1]),
        ("layers.generation=soon", [0, 2, 0], &[1, 2], &[2, 1]),
    ];
    for (cmdline, [next, default, good], ids, want) in cases {
        let some = |number: u32| (number > 0).then(|| id(number));
        let pointers =
            Pointers { default: some(*default), next: some(*next), good: some(*good), ran: None };
        let ids = ids.iter().copied().map(id).collect();
        let choices = Choices { pointers, ids, ..Choices::default() };
        let order = candidates(&BootRequest::parse(cmdline), &choices);
        let want: Vec<_> = want.iter().copied().map(id).collect();
        assert_eq!(order, want, "{cmdline} {pointers:?}");
    }
}

#[test]
fn a_generation_without_attempts_comes_last_unless_it_is_asked_for_or_good() {
    // Command line; next, default, good; used up; what is tried of 1 to 4; what is said to be passed over.
    type Case = (&'static str, [u32; 3], &'static [u32], &'static [u32], Option<u32>);
    let cases: &[Case] = &[
        ("", [0, 4, 2], &[4], &[2, 3, 1, 4], Some(4)),
        ("", [0, 4, 2], &[4, 3], &[2, 1, 4, 3], Some(4)),
        ("", [0, 3, 0], &[3], &[4, 2, 1, 3], Some(3)),
        ("", [0, 4, 0], &[4, 3, 2, 1], &[4, 3, 2, 1], None),
        // One that was marked good is good, whatever its record says.
        ("", [0, 4, 4], &[4], &[4, 3, 2, 1], None),
        ("", [0, 4, 2], &[3], &[4, 2, 1, 3], None),
        // Somebody insists.
        ("layers.generation=4", [0, 4, 2], &[4], &[4, 2, 3, 1], None),
        ("layers.generation=3", [0, 4, 2], &[4], &[3, 2, 1, 4], Some(4)),
        ("", [4, 3, 2], &[4], &[4, 3, 2, 1], None),
    ];
    for (cmdline, [next, default, good], used_up, want, passed) in cases {
        let some = |number: u32| (number > 0).then(|| id(number));
        let pointers =
            Pointers { default: some(*default), next: some(*next), good: some(*good), ran: None };
        let ids = (1..=4).map(id).collect();
        let used_up: BTreeSet<_> = used_up.iter().copied().map(id).collect();
        let choices = Choices { pointers, ids, used_up, ..Choices::default() };
        let request = BootRequest::parse(cmdline);
        let want: Vec<_> = want.iter().copied().map(id).collect();
        assert_eq!(candidates(&request, &choices), want, "{cmdline} {choices:?}");
        let said = passed_over(&request, &choices).map(|passed| passed.id);
        assert_eq!(said, passed.map(id), "{cmdline} {choices:?}");
    }
}

#[test]
fn a_choice_that_is_not_there_is_said() {
    let pointers = Pointers { default: Some(id(2)), ..Pointers::default() };
    let cases: &[(&str, &[u32], Option<&str>)] = &[
        ("", &[2], None),
        ("layers.generation=2", &[2], None),
        ("layers.generation=previous", &[1, 2], None),
        ("layers.generation=9", &[2], Some("layers.generation: there is no generation 9")),
        (
            "layers.generation=previous",
            &[2, 3],
            Some("layers.generation: there is no generation before the default one"),
        ),
    ];
    for (cmdline, ids, want) in cases {
        let ids = ids.iter().copied().map(id).collect();
        let choices = Choices { pointers, ids, ..Choices::default() };
        let said = missing_choice(&BootRequest::parse(cmdline), &choices);
        assert_eq!(said.as_deref(), *want, "{cmdline}");
    }
}

/// After a rollback from 2 to 1 and a change, 3 was made from 1: the generation before it is not the one left behind.
#[test]
fn previous_is_what_the_default_was_made_from_while_it_is_there() {
    let pointers = Pointers { default: Some(id(3)), ..Pointers::default() };
    let previous = |ids: &[u32], parent| {
        let ids = ids.iter().copied().map(id).collect();
        Choices { pointers, ids, parent, ..Choices::default() }.previous()
    };
    assert_eq!(previous(&[1, 2, 3], Some(id(1))), Some(id(1)));
    assert_eq!(previous(&[2, 3], Some(id(1))), Some(id(2)));
    assert_eq!(previous(&[1, 2, 3], None), Some(id(2)));
    assert_eq!(previous(&[3], None), None);
}
