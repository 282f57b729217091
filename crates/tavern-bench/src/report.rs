//! What a run found, as tables.

use std::fmt;

use crate::figure::Figure;

/// What a run found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// One table for each part.
    pub sections: Vec<Section>,
    /// The targets that were looked at.
    pub targets: Vec<Target>,
}

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// What was measured, and how.
    pub title: String,
    /// The columns' names, without the first.
    pub columns: Vec<&'static str>,
    /// The rows: a name and a figure for each column.
    pub rows: Vec<(String, Vec<Figure>)>,
}

/// Something that was to be reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// What.
    pub what: &'static str,
    /// At least this.
    pub wanted: Figure,
    /// What it came to.
    pub reached: Figure,
}

impl Section {
    pub(crate) fn new(title: impl Into<String>, columns: &[&'static str]) -> Self {
        Self { title: title.into(), columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, name: impl Into<String>, figures: impl Into<Vec<Figure>>) {
        self.rows.push((name.into(), figures.into()));
    }
}

impl Target {
    /// Whether it was reached.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.reached.number() >= self.wanted.number()
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(24);
        writeln!(f, "\n{}", self.title)?;
        write!(f, "  {:first$}", "")?;
        for column in &self.columns {
            write!(f, "  {column:>13}")?;
        }
        writeln!(f)?;
        for (name, figures) in &self.rows {
            write!(f, "  {name:first$}")?;
            for figure in figures {
                write!(f, "  {figure:>13}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_reached() { "reached" } else { "MISSED " };
        write!(f, "  {word}  {}: {}, wanted {}", self.what, self.reached, self.wanted)
    }
}
