//! What the README shows is what lies here.

#[test]
fn the_readme_shows_the_minimal_example_whole() {
    let readme = include_str!("../../../README.md");
    let example = include_str!("../../minimal.rs");
    // Without the comment at its head, which says how to run it.
    let (_, code) = example.split_once("\n\n").unwrap();
    let shown =
        readme.split("```").any(|block| block.split_once('\n').is_some_and(|b| b.1 == code));
    assert!(shown, "the README shows another program than examples/minimal.rs");
}

#[test]
fn the_readme_shows_the_trigger_whole() {
    let readme = include_str!("../../../README.md");
    let (_, code) = include_str!("../../row_changes.sql").split_once('\n').unwrap();
    assert!(readme.contains(&format!("```sql\n{code}```")), "another trigger than row_changes.sql");
}
