//! Properties of the format: what holds for any frame, any bytes and any chunking.
#![allow(clippy::unwrap_used, reason = "tests")]

mod chunking;
mod reference;
mod round_trip;

use proptest::prelude::*;

/// Cuts `bytes` at the given places, in any order and of any size.
fn chunks<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Text with everything the format could trip over.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ -~]{0,6}",
        1 => any::<char>().prop_map(String::from),
        4 => prop::sample::select(vec![
            "\n", "\r", "\r\n", "\n\n", " ", ":", ": ", "\0", "\u{feff}", "\u{2028}", "\u{85}", "é", "日本",
            "data:", "id: 1", "\n\nevent: forged\ndata: forged\n\n",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}
