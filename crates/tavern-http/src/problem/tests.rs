use super::*;

#[test]
fn every_kind_is_described_where_its_type_points() {
    let page = include_str!("../../PROBLEMS.md");
    for kind in Kind::ALL {
        let heading = format!("\n## {}\n", kind.slug());
        let (_, text) = page.split_once(&heading).unwrap_or_else(|| panic!("no {heading:?}"));
        let first = text.trim_start().lines().next().unwrap_or_default();
        assert!(
            first.starts_with(kind.status().as_str()),
            "{}: {first:?} should begin with the status {}",
            kind.slug(),
            kind.status(),
        );
    }
    assert_eq!(page.matches("\n## ").count(), Kind::ALL.len(), "a heading that is no kind");
}
