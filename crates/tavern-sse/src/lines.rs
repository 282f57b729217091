//! Lines as the format sees them.

/// The place of the first byte that ends a line.
pub(crate) fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == b'\n' || byte == b'\r')
}

/// Splits at `\r\n`, `\n` and lone `\r`; text that ends with a line ending has an empty last line.
///
/// `str::lines` knows no lone `\r` and drops that last line, with which data would lose its tail.
pub(crate) fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = line_end(text.as_bytes()) else {
            return rest.take();
        };
        let tail = &text[end..];
        rest = tail.strip_prefix("\r\n").or_else(|| tail.get(1..));
        Some(&text[..end])
    })
}
