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

/// Names of one fleet begin alike, and what two names share at their ends is never changed.
fn distance(one: &str, other: &str) -> usize {
    if !one.is_ascii() || !other.is_ascii() {
        return strsim::osa_distance(one, other);
    }
    let alike = |(left, right): &(u8, u8)| left == right;
    let start = one.bytes().zip(other.bytes()).take_while(alike).count();
    let (one, other) = (&one[start..], &other[start..]);
    let end = one.bytes().rev().zip(other.bytes().rev()).take_while(alike).count();
    strsim::osa_distance(&one[..one.len() - end], &other[..other.len() - end])
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
        .map(|other| (distance(name, other.as_str()), other))
        .filter(|(distance, _)| *distance <= distance_max)
        .min()
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_names_share_at_their_ends_does_not_count() {
        let mut words = vec![String::new()];
        for length in 0..5 {
            let longest: Vec<_> =
                words.iter().filter(|word| word.len() == length).cloned().collect();
            words.extend(longest.iter().flat_map(|word| [format!("{word}a"), format!("{word}b")]));
        }
        for one in &words {
            for other in &words {
                assert_eq!(distance(one, other), strsim::osa_distance(one, other), "{one} {other}");
            }
        }
    }
}
