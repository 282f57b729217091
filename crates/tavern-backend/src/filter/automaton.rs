//! Patterns with `**`, as an automaton that takes one step for each segment of a topic.

/// A non-deterministic automaton whose set of states is a number: bit `i` is set while the first
/// `i` parts of the pattern may have been matched.
///
/// The parts are the segments but `**`, which is no part of its own: where it stands between two
/// parts, the state between them loops. One `**` takes three of the 255 bytes, so that at most 126
/// parts of one byte and a slash are left, and 127 states fit into the number.
#[derive(Debug)]
pub(super) struct Automaton {
    /// Which parts each literal segment is, sorted by segment.
    literals: Vec<(Box<str>, u128)>,
    /// Which parts are `*`.
    any: u128,
    /// Which states loop.
    loops: u128,
    /// The state in which all parts are matched.
    end: u128,
}

impl Automaton {
    /// Compiles a checked pattern.
    pub(super) fn new(pattern: &str) -> Self {
        let mut compiled = Self { literals: Vec::new(), any: 0, loops: 0, end: 1 };
        let mut parts = Vec::new();
        for segment in pattern.split('/') {
            match segment {
                "**" => {
                    compiled.loops |= compiled.end;
                    continue;
                }
                "*" => compiled.any |= compiled.end,
                literal => parts.push((literal, compiled.end)),
            }
            compiled.end <<= 1;
        }
        parts.sort_unstable();
        for (literal, part) in parts {
            match compiled.literals.last_mut() {
                Some((last, mask)) if **last == *literal => *mask |= part,
                _ => compiled.literals.push((literal.into(), part)),
            }
        }
        compiled
    }

    /// Whether the whole of `segments` fits.
    pub(super) fn accepts<'a>(&self, segments: impl Iterator<Item = &'a str>) -> bool {
        let mut states = 1;
        for segment in segments {
            let found = self.literals.binary_search_by(|(literal, _)| (**literal).cmp(segment));
            let fits = self.any | found.map_or(0, |index| self.literals[index].1);
            states = (states & fits) << 1 | (states & self.loops);
            if states == 0 {
                return false;
            }
        }
        states & self.end != 0
    }
}
