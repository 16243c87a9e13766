//! What layerctl and its initrd share.
