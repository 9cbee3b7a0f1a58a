//! The tenant that a mistyped name most likely means.

use crate::tenant::SchemaName;

/// Two slips make another word of a short name, three of any name.
fn distance_max(name: &str) -> usize {
    match name.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        6..=9 => 2,
        _ => 3,
    }
}

/// Which letters and digits a name holds: one bit each, so that far names are seen at once.
fn letters(name: &str) -> u64 {
    name.bytes().fold(0, |set, byte| set | 1 << (byte & 63))
}

/// One comparison of strings is some 500 ns; looking at length and letters first spares it for
/// all but a few of 100,000 names. Equally near names: the first of the alphabet.
pub(super) fn nearest<'n>(
    name: &str,
    names: impl Iterator<Item = &'n SchemaName>,
) -> Option<&'n SchemaName> {
    let distance_max = distance_max(name);
    // One slip changes at most four bytes, and at most so many letters appear and vanish.
    let apart = distance_max * 4;
    let letters_of_name = letters(name);
    names
        .filter(|other| other.as_str().len().abs_diff(name.len()) <= apart)
        .filter(|other| {
            let differing = (letters(other.as_str()) ^ letters_of_name).count_ones();
            differing as usize <= apart * 2
        })
        .map(|other| (strsim::osa_distance(name, other.as_str()), other))
        .filter(|(distance, _)| *distance <= distance_max)
        .min()
        .map(|(_, other)| other)
}
