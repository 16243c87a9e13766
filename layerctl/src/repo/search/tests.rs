use super::*;
use proptest::prelude::*;

/// Bytes without a pattern.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let byte = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..length).map(byte).collect()
}

fn blocks(image: &[u8]) -> Blocks {
    let digest = layers::store::stage::digest(image);
    Blocks::compute(image, image.len() as u64, digest, &mut |_| {}).unwrap()
}

fn plan(old: &[u8], new: &[u8], from: u64) -> Vec<Piece> {
    let blocks = blocks(new);
    let found = search(&blocks, old, &mut |_| {}).unwrap();
    pieces(&blocks, &found, from)
}

/// What a download by these pieces gives, and how much of it was fetched.
fn put_together(old: &[u8], new: &[u8], from: u64) -> (Vec<u8>, u64) {
    let mut made = new[..from as usize].to_vec();
    let pieces = plan(old, new, from);
    for piece in &pieces {
        assert_eq!(piece.at, made.len() as u64);
        let (source, at) = match piece.old {
            Some(at) => (old, at),
            None => (new, piece.at),
        };
        made.extend(&source[at as usize..(at + piece.length) as usize]);
    }
    (made, fetched(&pieces))
}

#[test]
fn what_moved_is_found() {
    let old = noise(1, 400 * BLOCK);
    // 777 bytes come in, 5,000 go, 3,000 change.
    let mut new = old.clone();
    new.splice(100_000..100_000, noise(2, 777));
    new.drain(500_000..505_000);
    new.splice(900_000..903_000, noise(3, 3000));
    let (made, fetched) = put_together(&old, &new, 0);
    assert!(made == new);
    assert!(fetched < 9 * BLOCK as u64, "{fetched}");
    let pieces = plan(&old, &new, 0);
    assert_eq!(pieces.iter().filter(|piece| piece.old.is_none()).count(), 4, "{pieces:?}");
}

#[test]
fn the_same_image_costs_what_is_no_whole_block_at_its_end() {
    let image = noise(1, 100 * BLOCK + 5);
    assert_eq!(
        plan(&image, &image, 0),
        [
            Piece { old: Some(0), at: 0, length: 100 * BLOCK as u64 },
            Piece { old: None, at: 100 * BLOCK as u64, length: 5 },
        ]
    );
    let from = 3 * BLOCK as u64 + 7;
    let length = 97 * BLOCK as u64 - 7;
    assert_eq!(plan(&image, &image, from)[0], Piece { old: Some(from), at: from, length });
    assert_eq!(plan(&image, &image, image.len() as u64), []);
}

#[test]
fn equal_blocks_are_found_once_and_used_often() {
    let (zeros, end) = (vec![0; 300 * BLOCK], noise(1, BLOCK));
    let old = [zeros.as_slice(), &end].concat();
    let new = [end.as_slice(), &zeros, &zeros, &end].concat();
    let (made, fetched) = put_together(&old, &new, 0);
    assert!(made == new);
    assert_eq!(fetched, 0);
}

#[test]
fn short_gaps_are_fetched_and_parts_are_no_more_than_a_bound() {
    let old = noise(1, 4000 * BLOCK);
    let mut new = old.clone();
    // Two blocks of each ten are new, with one between them that is not.
    for (number, block) in new.chunks_mut(BLOCK).enumerate() {
        if number % 10 == 0 || number % 10 == 2 {
            block.copy_from_slice(&noise(number as u64 + 9, BLOCK));
        }
    }
    let pieces = plan(&old[..2000 * BLOCK], &new[..1000 * BLOCK], 0);
    let parts: Vec<_> = pieces.iter().filter(|piece| piece.old.is_none()).collect();
    assert_eq!(parts.len(), 100);
    assert!(parts.iter().all(|part| part.length == 3 * BLOCK as u64));
    let pieces = plan(&old, &new, 0);
    let parts = pieces.iter().filter(|piece| piece.old.is_none()).count();
    assert!(parts <= PARTS, "{parts}");
    assert!(put_together(&old, &new, 0).0 == new);
}

#[test]
fn an_index_that_wants_to_cost_time_is_given_up() {
    // Every byte of the older image begins a block of the weak sum that the index names.
    let image = vec![0; 64 * BLOCK];
    let hostile = Blocks { hashes: vec![BlockHash::new(0, b"another"); 64], ..blocks(&image) };
    let mut search = Search::new(&hostile);
    search.allowed = 100;
    assert!(search.window(&image, 0) < image.len());
    assert!(search.is_over() && search.found.is_empty());
    let found = super::search(&hostile, image.as_slice(), &mut |_| {}).unwrap();
    assert_eq!(found.count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pieces_always_make_the_new_image(
        cuts in prop::collection::vec((0_usize..300_000, 0_usize..9000, 0_usize..9000), 0..6),
        from in 0_u64..200_000,
    ) {
        let old = noise(7, 300_000);
        let mut new = old.clone();
        for (place, (at, out, comes)) in cuts.into_iter().enumerate() {
            let at = at.min(new.len());
            let end = (at + out).min(new.len());
            new.splice(at..end, noise(place as u64 + 50, comes));
        }
        let from = from.min(new.len() as u64);
        prop_assert!(put_together(&old, &new, from).0 == new);
    }
}
