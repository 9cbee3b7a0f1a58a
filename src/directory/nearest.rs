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
    let letters_of_name = letters(name);
    names
        .filter(|other| {
            let other = other.as_str();
            // One slip changes one letter, and a letter has at most four bytes.
            let letter_bytes = if name.is_ascii() && other.is_ascii() { 1 } else { 4 };
            let apart = distance_max * letter_bytes;
            // A letter put in place of another takes one out of the set and brings one in.
            let differing = (letters(other) ^ letters_of_name).count_ones() as usize;
            other.len().abs_diff(name.len()) <= apart && differing <= apart * 2
        })
        .map(|other| (strsim::osa_distance(name, other.as_str()), other))
        .filter(|(distance, _)| *distance <= distance_max)
        .min()
        .map(|(_, other)| other)
}
