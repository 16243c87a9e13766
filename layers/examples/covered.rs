//! Covers put to the test, on a machine whose kernel has dm-verity and fs-verity: a static program for tests in a guest.
//!
//! ```text
//! covered stage  IMAGE TREE                                  measure, make the tree, enable fs-verity where it can be had
//! covered mount  IMAGE TREE AT eio|restart|panic             measure, mount by the cover
//! covered flips  IMAGE TREE AT ON OFFSET LENGTH COUNT        flip COUNT bits of an image, one after the other
//! covered cost   IMAGE TREE AT COUNT                         how long a mount takes: plain, covered, by dm-verity
//! covered race   GOOD EVIL TREE DIRECTORY COUNT              exchange the two while they are mounted
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test's program ends with the first surprise"
)]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use layers::exec::{Host, HostError};
use layers::host::LinuxHost;
use layers::manifest::Verity;
use layers::plan::Cover;
use layers::store::{cover, stage};
use layers::superblock::Format;
use layers::trust::OnCorruption;
use layers::verity::{self, BLOCK};
use rustix::fs::{CWD, RenameFlags, renameat_with};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["stage", image, tree] => {
            let verity = measure(image);
            cover::stage(image.as_ref(), tree.as_ref(), &verity).unwrap();
            println!("{}", verity.root);
        }
        ["mount", image, tree, at, corruption] => {
            let cover = cover_of(measure(image), tree, corruption);
            let image: &Path = image.as_ref();
            if let Err(error) = mount(image, format(image), &cover, at.as_ref()) {
                println!("refused: {error}");
                std::process::exit(1);
            }
        }
        ["flips", image, tree, at, on, offset, length, count] => {
            let number = |text: &str| text.parse().unwrap();
            let cover = cover_of(measure(image), tree, "eio");
            let disk = OpenOptions::new().read(true).write(true).open(on).unwrap();
            let mut flips =
                Flips { disk, offset: number(offset), length: number(length), state: 1 };
            flips.run(image.as_ref(), &cover, at.as_ref(), number(count));
        }
        ["cost", image, tree, at, count] => {
            let verity = measure(image);
            let covers = [None, Some("eio"), Some("restart")]
                .map(|corruption| corruption.map(|one| cover_of(verity.clone(), tree, one)));
            cost(image.as_ref(), &covers, at.as_ref(), count.parse().unwrap());
        }
        ["race", good, evil, tree, directory, count] => {
            let cover = cover_of(measure(good), tree, "eio");
            race(
                [good.as_ref(), evil.as_ref()],
                &cover,
                directory.as_ref(),
                count.parse().unwrap(),
            );
        }
        other => panic!("{other:?}"),
    }
}

/// The cover of the image, from the sidecar that `stage` leaves: what is signed does not change with the image.
fn measure(image: &str) -> Verity {
    let kept = PathBuf::from(format!("{image}.measured"));
    if let Ok(text) = fs::read_to_string(&kept) {
        let [root, blocks, fsverity] = text.split(' ').collect::<Vec<_>>().try_into().unwrap();
        return Verity {
            root: root.parse().unwrap(),
            salt: String::new(),
            data_blocks: blocks.parse().unwrap(),
            fsverity: fsverity.parse().unwrap(),
        };
    }
    let verity = verity::measure(image.as_ref()).unwrap().verity;
    let text = format!("{} {} {}", verity.root, verity.data_blocks, verity.fsverity);
    fs::write(kept, text).unwrap();
    verity
}

fn cover_of(verity: Verity, tree: &str, corruption: &str) -> Cover {
    let corruption = match corruption {
        "eio" => OnCorruption::Eio,
        "restart" => OnCorruption::Restart,
        "panic" => OnCorruption::Panic,
        other => panic!("{other}"),
    };
    Cover { verity, tree: tree.into(), corruption }
}

fn format(image: &Path) -> Format {
    stage::superblock(image).unwrap().unwrap().format
}

fn mount(image: &Path, format: Format, cover: &Cover, at: &Path) -> Result<(), HostError> {
    fs::create_dir_all(at).unwrap();
    LinuxHost::new().mount_image(image, format, Some(cover), at)
}

/// Tells the mean time of a mount, with a directory read, in microseconds.
fn cost(image: &Path, covers: &[Option<Cover>], at: &Path, count: u32) {
    let (format, mut host) = (format(image), LinuxHost::new());
    for cover in covers {
        let mut taken = Duration::ZERO;
        // The first one is left out: modules, and what the kernel can do, are found out then.
        for turn in 0..=count {
            let start = Instant::now();
            host.mount_image(image, format, cover.as_ref(), at).unwrap();
            assert!(fs::read_dir(at).unwrap().count() > 1);
            if turn > 0 {
                taken += start.elapsed();
            }
            host.unmount(at).unwrap();
        }
        let name = cover.as_ref().map(|cover| format!("{:?}", cover.corruption));
        println!(
            "{}: {} µs",
            name.as_deref().unwrap_or("plain"),
            taken.as_micros() / u128::from(count)
        );
    }
}

/// What every file below a directory reads as.
fn contents(top: &Path) -> BTreeMap<PathBuf, io::Result<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut left = vec![top.to_owned()];
    while let Some(path) = left.pop() {
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) => {
                found.insert(path, Err(error));
                continue;
            }
        };
        for entry in entries {
            match entry {
                Ok(entry) => match fs::symlink_metadata(entry.path()) {
                    Ok(metadata) if metadata.is_dir() => left.push(entry.path()),
                    Ok(_) => {
                        found.insert(entry.path(), fs::read(entry.path()));
                    }
                    Err(error) => {
                        found.insert(entry.path(), Err(error));
                    }
                },
                Err(error) => {
                    found.insert(path.clone(), Err(error));
                }
            }
        }
    }
    found
}

/// Flips bits of an image where it lies.
struct Flips {
    disk: File,
    offset: u64,
    length: u64,
    state: u64,
}

impl Flips {
    /// Flips one bit after the other at a random place, and back again. Every other one is flipped below a mount, the rest
    /// before it. The mount is refused, or the block fails where it is read by itself; no file may read as anything else
    /// than before.
    fn run(&mut self, image: &Path, cover: &Cover, at: &Path, count: u64) {
        let format = format(image);
        mount(image, format, cover, at).unwrap();
        let expected: BTreeMap<_, _> =
            contents(at).into_iter().map(|(path, content)| (path, content.unwrap())).collect();
        assert!(expected.len() > 3, "there is something to read");
        LinuxHost::new().unmount(at).unwrap();
        let (mut refused, mut blocks, mut files, mut wrong) = (0, 0, 0, 0);
        for round in 0..count {
            let (place, bit) = (self.random() % self.length, self.random() % 8);
            let before = round % 2 == 0 || mount(image, format, cover, at).is_err();
            self.flip(place, bit);
            if before && let Err(error) = mount(image, format, cover, at) {
                assert!(error.to_string().contains("os error 5"), "{error}");
                refused += 1;
                self.flip(place, bit);
                continue;
            }
            let block = place / BLOCK as u64 * BLOCK as u64;
            match File::open(carrier(image, at)).unwrap().read_exact_at(&mut [0; BLOCK], block) {
                Err(error) if error.raw_os_error() == Some(libc::EIO) => blocks += 1,
                other => println!("byte {place}: {other:?}"),
            }
            for (path, content) in contents(at) {
                match content {
                    Ok(content) if expected.get(&path) == Some(&content) => {}
                    Err(error) if error.raw_os_error() == Some(libc::EIO) => files += 1,
                    other => {
                        println!("byte {place}: {} reads as {other:?}", path.display());
                        wrong += 1;
                    }
                }
            }
            LinuxHost::new().unmount(at).unwrap();
            self.flip(place, bit);
        }
        mount(image, format, cover, at).unwrap();
        let whole = contents(at).len() == expected.len();
        println!("refused {refused} blocks {blocks} files {files} wrong {wrong} whole {whole}");
    }

    fn random(&mut self) -> u64 {
        // Xorshift (Marsaglia, 2003).
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// Flips a bit where no cache can hide it.
    fn flip(&self, place: u64, bit: u64) {
        let mut byte = [0];
        self.disk.read_exact_at(&mut byte, self.offset + place).unwrap();
        byte[0] ^= 1 << bit;
        self.disk.write_all_at(&byte, self.offset + place).unwrap();
        self.disk.sync_data().unwrap();
        fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
    }
}

/// What a mount reads its blocks from: a device, or the image's file.
fn carrier(image: &Path, at: &Path) -> PathBuf {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let source = mounts.lines().rev().find_map(|line| {
        let mut words = line.split(' ');
        let source = words.next()?;
        (words.next()? == at.to_str()?).then_some(source)
    });
    match source.unwrap() {
        device if device.starts_with("/dev/") => device.into(),
        _ => image.to_owned(),
    }
}

/// Mounts what is at a path, `count` times, while another thread exchanges the two images there, once in each turn and at a
/// random time of it; needs two processors. As a control, the way in which the one that is checked need not be the one that is
/// mounted, with the exchange in between.
fn race([good, evil]: [&Path; 2], cover: &Cover, directory: &Path, count: u64) {
    let format = format(good);
    let at = directory.join("at");
    fs::create_dir_all(&at).unwrap();
    let mut host = LinuxHost::new();
    let exchange = || renameat_with(CWD, good, CWD, evil, RenameFlags::EXCHANGE).unwrap();
    let file = File::open(good).unwrap();
    let measured = layers::sys::fsverity_digest(&file).unwrap();
    let checked = measured.is_none_or(|is| is == cover.verity.fsverity);
    exchange();
    let found = host.mount_image(good, format, None, &at).is_ok().then(|| is_evil(&mut host, &at));
    println!("control: checked {} won {}", u8::from(checked), u8::from(found == Some(true)));
    exchange();
    // An odd number asks for an exchange, the even one after it says that it is done.
    let (asked, end) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = 1_u64;
            while !end.load(Ordering::Acquire) {
                if asked.load(Ordering::Acquire).is_multiple_of(2) {
                    std::hint::spin_loop();
                    continue;
                }
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // A turn takes about as long.
                let moment = Instant::now() + Duration::from_nanos(random >> 43);
                while Instant::now() < moment {
                    std::hint::spin_loop();
                }
                exchange();
                asked.fetch_add(1, Ordering::Release);
            }
        });
        let (mut mounted, mut refused, mut during, mut won) = (0, 0, 0, 0);
        for _ in 0..count {
            asked.fetch_add(1, Ordering::Release);
            let tried = host.mount_image(good, format, Some(cover), &at);
            during += u64::from(asked.load(Ordering::Acquire).is_multiple_of(2));
            match tried {
                Err(_) => refused += 1,
                Ok(()) => {
                    mounted += 1;
                    won += u64::from(is_evil(&mut host, &at));
                }
            }
            while !asked.load(Ordering::Acquire).is_multiple_of(2) {
                std::hint::spin_loop();
            }
        }
        end.store(true, Ordering::Release);
        println!("covered: mounted {mounted} refused {refused} during {during} won {won}");
    });
}

/// Whether the other image is mounted; unmounts it.
fn is_evil(host: &mut LinuxHost, at: &Path) -> bool {
    let text = fs::read_to_string(at.join("marker"));
    host.unmount(at).unwrap();
    text.is_ok_and(|text| text.starts_with("evil"))
}
