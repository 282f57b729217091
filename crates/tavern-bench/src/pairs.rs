//! Two things measured in turn.

use crate::run::Result;

/// Medians of alternating measurements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pairs {
    pub(crate) ours: f64,
    pub(crate) theirs: f64,
    /// The median of the pairs' ratios, which what else the machine does disturbs least.
    pub(crate) ratio: f64,
}

/// Measures two rates in turn, each first in every other pair.
pub(crate) async fn alternate<A, B, FA, FB>(
    pairs: usize,
    mut ours: A,
    mut theirs: B,
) -> Result<Pairs>
where
    A: FnMut() -> FA + Send,
    B: FnMut() -> FB + Send,
    FA: Future<Output = Result<f64>> + Send,
    FB: Future<Output = Result<f64>> + Send,
{
    let mut measured = Vec::with_capacity(pairs);
    for pair in 0..pairs {
        if pair % 2 == 0 {
            let first = ours().await?;
            measured.push((first, theirs().await?));
        } else {
            let first = theirs().await?;
            measured.push((ours().await?, first));
        }
    }
    Ok(Pairs {
        ours: median(measured.iter().map(|pair| pair.0)),
        theirs: median(measured.iter().map(|pair| pair.1)),
        ratio: median(measured.iter().map(|(ours, theirs)| ours / theirs)),
    })
}

/// The middle one of what was measured.
pub(crate) fn median(measured: impl IntoIterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = measured.into_iter().collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}
