//! Which image a name stands for: of those that the store has and those that repositories offer, the newest that fits.
//!
//! Nothing is read or asked here: what goes in is a store's state and the offers, what comes out names the images to get.

use layers::generation::{Base, Layer};
use layers::id::{Digest, Name, Version};
use layers::intent::Intent;
use layers::manifest::{ANY_ARCHITECTURE, Kind, Manifest};
use layers::os::Os;
use layers::plan::change::{Refusal, State};
use layers::requirement::Requirement;

use crate::repo::refresh::Offer;

/// An image that a name may stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidate<'a> {
    /// The store has it.
    Stored(&'a Manifest),
    /// A repository has it.
    Offered(&'a Offer),
}

/// What a name came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolution<'a> {
    /// A layer of that name is installed: it stays as it is.
    Installed,
    /// The image to install.
    Found(Candidate<'a>),
    /// Neither the store nor a repository has a layer of that name: a package manager may.
    NotFound,
}

/// What images must fit.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    /// The base's architecture, or `any`.
    architecture: String,
    /// The system that the base is, where that is known.
    os: Option<Os>,
}

/// All that there is to choose from.
#[derive(Debug)]
pub(crate) struct Resolver<'a> {
    state: &'a State,
    offers: &'a [Offer],
    ground: Ground,
    /// What was passed over and why, one line each.
    pub(crate) notes: Vec<String>,
}

impl<'a> Candidate<'a> {
    /// Its name.
    pub(crate) fn name(&self) -> &'a Name {
        match self {
            Self::Stored(manifest) => &manifest.name,
            Self::Offered(offer) => &offer.entry.name,
        }
    }

    /// Its version.
    pub(crate) fn version(&self) -> &'a Version {
        match self {
            Self::Stored(manifest) => &manifest.version,
            Self::Offered(offer) => &offer.entry.version,
        }
    }

    /// What is known of it before it is got.
    pub(crate) fn manifest(&self) -> Option<&'a Manifest> {
        match self {
            Self::Stored(manifest) => Some(manifest),
            Self::Offered(offer) => offer.entry.manifest.as_ref(),
        }
    }

    /// Bytes to download, where that is known.
    pub(crate) fn download(&self) -> Option<u64> {
        match self {
            Self::Stored(_) => Some(0),
            Self::Offered(offer) => offer.entry.size,
        }
    }

    /// What its bytes are to hash to.
    pub(crate) fn digest(&self) -> Digest {
        match self {
            Self::Stored(manifest) => manifest.digest,
            Self::Offered(offer) => offer.entry.digest,
        }
    }

    /// The repository that it would come from; `None` where the store has it.
    pub(crate) fn repository(&self) -> Option<&'a str> {
        match self {
            Self::Stored(_) => None,
            Self::Offered(offer) => Some(&offer.repository),
        }
    }

    /// Where it is from, for people.
    pub(crate) fn origin(&self) -> String {
        match self {
            Self::Stored(_) => "in the store".to_owned(),
            Self::Offered(offer) => format!("repository {}", offer.repository),
        }
    }

    fn title(&self) -> String {
        format!("{} {}", self.name(), self.version())
    }

    fn architecture(&self) -> Option<&'a str> {
        match self {
            Self::Stored(manifest) => Some(&manifest.architecture),
            Self::Offered(offer) => offer.entry.architecture.as_deref(),
        }
    }
}

impl Ground {
    /// What a base with this manifest asks of layers; without one the base takes anything.
    pub(crate) fn of(base: Option<&Manifest>) -> Self {
        Self {
            architecture: base
                .map_or_else(|| ANY_ARCHITECTURE.to_owned(), |base| base.architecture.clone()),
            os: base.and_then(|base| base.os.clone()),
        }
    }

    /// Why an image does not fit, as the end of a sentence.
    fn misfit(&self, candidate: &Candidate<'_>) -> Option<String> {
        let base = self.architecture.as_str();
        if let Some(own) = candidate.architecture()
            && own != base
            && own != ANY_ARCHITECTURE
            && base != ANY_ARCHITECTURE
        {
            return Some(format!("is for {own}, the base for {base}"));
        }
        let fits = candidate.manifest().and_then(|manifest| manifest.fits.as_ref())?;
        fits.check(self.os.as_ref()?).err().map(|why| why.to_string())
    }
}

impl<'a> Resolver<'a> {
    /// A choice among the whole images of `state` and among `offers`.
    pub(crate) fn new(state: &'a State, offers: &'a [Offer], ground: Ground) -> Self {
        Self { state, offers, ground, notes: Vec::new() }
    }

    /// What `layerctl install NAME` is to install.
    pub(crate) fn name(&mut self, name: &Name) -> Resolution<'a> {
        if self.installed(name).is_some() {
            return Resolution::Installed;
        }
        match self.newest(Kind::Layer, &name.clone().into()) {
            Some(found) => Resolution::Found(found),
            None => Resolution::NotFound,
        }
    }

    /// What is newer than `version`, of that name and kind.
    pub(crate) fn newer(
        &mut self,
        kind: Kind,
        name: &Name,
        version: &Version,
    ) -> Option<Candidate<'a>> {
        let found = self.candidates(kind, name);
        let newer = found.into_iter().filter(|it| it.version().compare(version).is_gt());
        self.first_that_fits(newer.collect())
    }

    /// The images to get for what `layers` need and neither they nor the installed layers are; what nobody has is left
    /// out.
    pub(crate) fn needed(&mut self, layers: &[&Manifest]) -> Vec<Candidate<'a>> {
        let mut there: Vec<Name> = layers.iter().map(|manifest| manifest.name.clone()).collect();
        let mut needs: Vec<Requirement> =
            layers.iter().flat_map(|manifest| manifest.requires.clone()).collect();
        let mut found = Vec::new();
        while let Some(need) = needs.pop() {
            if there.contains(&need.name) || self.installed(&need.name).is_some() {
                continue;
            }
            if let Some(candidate) = self.newest(Kind::Layer, &need) {
                let more = candidate.manifest().map(|manifest| manifest.requires.clone());
                needs.extend(more.unwrap_or_default());
                there.push(need.name);
                found.push(candidate);
            }
        }
        found
    }

    /// The names of what `layers` need that neither they, nor the installed layers, nor the store's images are.
    pub(crate) fn lacks(&mut self, layers: &[&Manifest]) -> Vec<Name> {
        let found = self.needed(layers);
        let there = |name: &Name| {
            layers.iter().any(|manifest| manifest.name == *name)
                || self.installed(name).is_some()
                || found.iter().any(|candidate| candidate.name() == name)
        };
        let known = found.iter().filter_map(Candidate::manifest);
        let needs = layers.iter().copied().chain(known).flat_map(|manifest| &manifest.requires);
        needs.map(|need| need.name.clone()).filter(|name| !there(name)).collect()
    }

    fn newest(&mut self, kind: Kind, asked: &Requirement) -> Option<Candidate<'a>> {
        let found = self.candidates(kind, &asked.name);
        let admitted = found.into_iter().filter(|it| asked.admits(it.version()));
        self.first_that_fits(admitted.collect())
    }

    fn first_that_fits(&mut self, found: Vec<Candidate<'a>>) -> Option<Candidate<'a>> {
        found.into_iter().find(|candidate| match self.ground.misfit(candidate) {
            None => true,
            Some(why) => {
                let line =
                    format!("{} ({}) {why}: passed over", candidate.title(), candidate.origin());
                if !self.notes.contains(&line) {
                    self.notes.push(line);
                }
                false
            }
        })
    }

    /// All images of a name, the newest first; of equal versions the store's own first.
    fn candidates(&self, kind: Kind, name: &Name) -> Vec<Candidate<'a>> {
        let stored = self
            .state
            .manifests
            .values()
            .filter(|manifest| manifest.kind == kind && self.state.is_whole(&manifest.digest));
        // What an index does not call a base or a layer is a layer, unless the base has its very name.
        let offered = self.offers.iter().filter(|offer| match offer.entry.kind {
            Some(known) => known == kind,
            None => true,
        });
        let all = stored.map(Candidate::Stored).chain(offered.map(Candidate::Offered));
        let mut found: Vec<Candidate<'a>> = all.filter(|it| it.name() == name).collect();
        found.sort_by(|a, b| b.version().compare(a.version()));
        found
    }

    fn installed(&self, name: &Name) -> Option<&'a Layer> {
        self.state.start().ok()?.layer(name)
    }
}

/// What is newer than what is installed.
#[derive(Debug)]
pub(crate) struct Upgrades<'a> {
    /// The base and what takes its place.
    pub(crate) base: Option<(&'a Base, Candidate<'a>)>,
    /// Layers and what takes their places.
    pub(crate) layers: Vec<(&'a Layer, Candidate<'a>)>,
    /// What these need besides.
    pub(crate) needed: Vec<Candidate<'a>>,
    /// What was passed over and why, one line each.
    pub(crate) notes: Vec<String>,
}

impl<'a> Upgrades<'a> {
    /// What is newer of `names`, or of all that is installed where none is named: first the base, then the layers that
    /// fit it. Layers that were made on this machine are none of a repository's.
    pub(crate) fn among(
        state: &'a State,
        offers: &'a [Offer],
        names: &[Name],
    ) -> Result<Self, Refusal> {
        let start = state.start()?;
        let installed = |name: &&Name| start.base.name == **name || start.layer(name).is_some();
        if let Some(stranger) = names.iter().find(|name| !installed(name)) {
            let what = format!("{stranger} is not installed in generation {}", start.id);
            return Err(Refusal::new(what, "see what is installed: layerctl status"));
        }
        let wanted = |name: &Name| names.is_empty() || names.contains(name);
        let present = state.manifests.get(&start.base.digest);
        let mut resolver = Resolver::new(state, offers, Ground::of(present));
        let base = wanted(&start.base.name)
            .then(|| resolver.newer(Kind::Base, &start.base.name, &start.base.version))
            .flatten();
        if let Some(manifest) = base.and_then(|base| base.manifest()) {
            resolver.ground = Ground::of(Some(manifest));
        }
        let made = start.requests.iter().filter_map(|text| text.parse::<Intent>().ok());
        let made: Vec<Name> = made.filter_map(|intent| intent.layer().ok()).collect();
        let ours = start.layers.iter().filter(|it| wanted(&it.name) && !made.contains(&it.name));
        let newer = ours.filter_map(|layer| {
            Some((layer, resolver.newer(Kind::Layer, &layer.name, &layer.version)?))
        });
        let layers: Vec<(&Layer, Candidate<'a>)> = newer.collect();
        let known: Vec<&Manifest> = layers.iter().filter_map(|(_, new)| new.manifest()).collect();
        let needed = resolver.needed(&known);
        let base = base.map(|new| (&start.base, new));
        Ok(Self { base, layers, needed, notes: resolver.notes })
    }

    /// Whether all is up to date.
    pub(crate) fn is_empty(&self) -> bool {
        self.base.is_none() && self.layers.is_empty()
    }

    /// One line for each image, with what has to be downloaded if `bytes`.
    pub(crate) fn lines(&self, bytes: bool) -> Vec<String> {
        let tail = |new: &Candidate<'_>| match new.download().filter(|_| bytes) {
            Some(0) => new.origin(),
            Some(size) => format!("{}, {size} bytes to download", new.origin()),
            None if bytes => format!("{}, of unknown length", new.origin()),
            None => new.origin(),
        };
        let row = |what: String, old: &Version, new: &Candidate<'_>| {
            format!("{what} {old} → {} ({})", new.version(), tail(new))
        };
        let base =
            self.base.iter().map(|(old, new)| row(format!("base {}", old.name), &old.version, new));
        let layers =
            self.layers.iter().map(|(old, new)| row(old.name.to_string(), &old.version, new));
        let needed =
            self.needed.iter().map(|new| format!("{} is needed ({})", new.title(), tail(new)));
        let mut lines: Vec<String> = base.chain(layers).chain(needed).collect();
        if bytes {
            lines.push(format!("{} bytes to download in all", self.download()));
        }
        lines
    }

    /// Bytes to download in all, of images whose length is known.
    pub(crate) fn download(&self) -> u64 {
        let all = self.base.iter().map(|(_, new)| new);
        let all = all.chain(self.layers.iter().map(|(_, new)| new)).chain(&self.needed);
        all.filter_map(Candidate::download).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use layers::os::Fits;

    use crate::repo::index::Entry;
    use crate::repo::location::Location;

    fn manifest(words: &str) -> Manifest {
        let mut words = words.split_whitespace();
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(format!("{name} {version}").bytes()).for_each(|(to, from)| *to = from);
        let digest = Digest::new(bytes);
        let text = format!(
            "schema = 1\nname = \"{name}\"\nversion = \"{version}\"\nkind = \"layer\"\narchitecture = \"x86-64\"\n\
             format = \"erofs\"\nsize = 4096\ndigest = \"{digest}\"\ndirs = [\"usr\"]\n"
        );
        let mut manifest = Manifest::parse(&text).unwrap();
        for word in words {
            match word.split_once('=').unwrap() {
                ("arch", value) => manifest.architecture = value.into(),
                ("needs", value) => {
                    manifest.requires.push(value.replace('_', " ").parse().unwrap());
                }
                ("for", value) => {
                    let fits = Fits {
                        id: "debian".into(),
                        version_id: Some(value.into()),
                        ..Fits::default()
                    };
                    manifest.fits = Some(fits);
                }
                _ => panic!("{word}"),
            }
        }
        manifest
    }

    fn offer(words: &str) -> Offer {
        let manifest = manifest(words);
        let file = format!("{}_{}.img", manifest.name, manifest.version);
        Offer {
            repository: "main".into(),
            location: Location::Path(file.clone().into()),
            entry: Entry::described(file, manifest),
        }
    }

    fn state(stored: &[&str]) -> State {
        let mut state = State::default();
        for manifest in stored.iter().map(|words| manifest(words)) {
            state.images.insert(manifest.digest, manifest.size);
            state.manifests.insert(manifest.digest, manifest);
        }
        state
    }

    fn ground() -> Ground {
        let mut base = manifest("debian 13");
        base.os = Some(Os { id: "debian".into(), version_id: Some("13".into()), ..Os::default() });
        Ground::of(Some(&base))
    }

    fn found(state: &State, offers: &[Offer], name: &str) -> (String, Vec<String>) {
        let mut resolver = Resolver::new(state, offers, ground());
        let text = match resolver.name(&name.parse().unwrap()) {
            Resolution::Found(found) => format!("{} {}", found.title(), found.origin()),
            other => format!("{other:?}"),
        };
        (text, resolver.notes)
    }

    #[test]
    fn the_newest_is_taken_wherever_it_is_and_the_store_s_own_of_equal_ones() {
        let store = state(&["htop 3.4", "tree 2"]);
        let offers = ["htop 3.10", "htop 3.9", "tree 2"].map(offer);
        assert_eq!(found(&store, &offers, "htop").0, "htop 3.10 repository main");
        assert_eq!(found(&store, &offers, "tree").0, "tree 2 in the store");
        assert_eq!(found(&store, &offers, "vim").0, "NotFound");
    }

    #[test]
    fn what_does_not_fit_is_passed_over_and_said() {
        let offers = ["web 4 arch=arm64", "web 3 for=14", "web 2 for=13", "web 1"].map(offer);
        let (text, notes) = found(&State::default(), &offers, "web");
        assert_eq!(text, "web 2 repository main");
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].contains("web 4 (repository main) is for arm64, the base for x86-64"));
        assert!(notes[1].contains("is for debian 14, the base is debian 13"), "{notes:?}");
    }

    #[test]
    fn needs_are_followed_within_their_bounds_and_around_circles() {
        let store = state(&["libc 9"]);
        let offers =
            ["liba 3", "liba 2 needs=libb", "libb 1 needs=liba needs=libc needs=nobody"].map(offer);
        let app = manifest("app 1 needs=liba_<_3");
        let mut resolver = Resolver::new(&store, &offers, ground());
        let titles: Vec<String> = resolver.needed(&[&app]).iter().map(Candidate::title).collect();
        assert_eq!(titles, ["liba 2", "libb 1", "libc 9"]);
    }

    #[test]
    fn only_what_is_newer_is_an_upgrade() {
        let offers = ["htop 3.4", "htop 3.5~rc1", "htop 3.5"].map(offer);
        let state = State::default();
        let mut resolver = Resolver::new(&state, &offers, ground());
        let mut newer = |version: &str| {
            let found =
                resolver.newer(Kind::Layer, &"htop".parse().unwrap(), &version.parse().unwrap());
            found.map(|it| it.version().to_string())
        };
        assert_eq!(newer("3.4").as_deref(), Some("3.5"));
        assert_eq!(newer("3.5"), None);
    }
}
