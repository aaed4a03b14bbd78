//! Block-quantised number types: one file each.
