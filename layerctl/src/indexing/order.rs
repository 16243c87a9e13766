//! In which order the kernel looks for files' bytes. Pure.

use std::cmp::Reverse;
use std::collections::BTreeSet;

/// What is known of the images of a stack, bottom first.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// How many files have their bytes in each image.
    files: Vec<usize>,
    /// For each image those above it that have to be searched before it: a path of theirs may be one of its own too.
    before: Vec<BTreeSet<usize>>,
}

impl Order {
    /// Nothing is known yet of `images` images.
    pub(super) fn new(images: usize) -> Self {
        Self { files: vec![0; images], before: vec![BTreeSet::new(); images] }
    }

    /// A file has its bytes in `image`.
    pub(super) fn file(&mut self, image: usize) {
        if let Some(files) = self.files.get_mut(image) {
            *files += 1;
        }
    }

    /// The image `lower` may have a path of a file whose bytes are in `upper`, which is above it.
    pub(super) fn hides(&mut self, upper: usize, lower: usize) {
        if let Some(before) = self.before.get_mut(lower).filter(|_| upper > lower) {
            before.insert(upper);
        }
    }

    /// The images with bytes of files: those with the most files as early as those above them allow, since each one that is
    /// searched in vain costs a lookup. The same is known of the same images, so the order is the same.
    pub(super) fn data(&self) -> Vec<usize> {
        let mut wanted: Vec<usize> = (0..self.files.len()).collect();
        wanted.sort_by_key(|&image| Reverse((self.files_in(image), image)));
        let mut order: Vec<usize> = Vec::new();
        let mut done: BTreeSet<usize> = BTreeSet::new();
        for image in wanted {
            // Topmost first is an order that all of them allow.
            let first = self.all_before(image);
            order.extend(first.into_iter().rev().filter(|&image| done.insert(image)));
        }
        order.retain(|&image| self.files_in(image) > 0);
        order
    }

    fn files_in(&self, image: usize) -> usize {
        self.files.get(image).copied().unwrap_or_default()
    }

    /// An image, and all that have to be searched before it.
    fn all_before(&self, image: usize) -> BTreeSet<usize> {
        let (mut all, mut todo) = (BTreeSet::from([image]), vec![image]);
        while let Some(lower) = todo.pop() {
            let before = self.before.get(lower).into_iter().flatten();
            todo.extend(before.filter(|&&upper| all.insert(upper)));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order(files: &[usize], hides: &[(usize, usize)]) -> Vec<usize> {
        let mut order = Order::new(files.len());
        for (image, count) in files.iter().enumerate() {
            (0..*count).for_each(|_| order.file(image));
        }
        hides.iter().for_each(|&(upper, lower)| order.hides(upper, lower));
        order.data()
    }

    #[test]
    fn the_image_with_the_most_files_is_searched_first() {
        assert_eq!(order(&[9, 1, 3], &[]), [0, 2, 1]);
        assert_eq!(order(&[9, 0, 3], &[]), [0, 2], "an image without files is not searched");
    }

    #[test]
    fn an_image_that_hides_files_of_another_is_searched_before_it() {
        assert_eq!(order(&[9, 1, 3], &[(1, 0)]), [1, 0, 2]);
        assert_eq!(order(&[9, 5, 3, 1], &[(1, 0), (3, 1)]), [3, 1, 0, 2]);
        assert_eq!(order(&[9, 0, 3], &[(1, 0), (2, 1)]), [2, 0], "by way of one without files");
        assert_eq!(order(&[1, 9], &[(0, 1)]), [1, 0], "a lower image hides nothing");
    }

    proptest! {
        #[test]
        fn whatever_hides_something_comes_first(
            files in prop::collection::vec(1_usize..5, 1..12),
            hides in prop::collection::vec((0_usize..12, 0_usize..12), 0..40),
        ) {
            let found = order(&files, &hides);
            prop_assert_eq!(found.len(), files.len());
            let place = |image| found.iter().position(|&at| at == image);
            for (upper, lower) in hides {
                if upper > lower && upper < files.len() {
                    prop_assert!(place(upper) < place(lower));
                }
            }
        }
    }
}
