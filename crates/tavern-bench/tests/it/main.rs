//! A run in its smallest form: every part measures something, and says what it is.

#![allow(clippy::unwrap_used, reason = "tests")]

use tavern_bench::{CountingAllocator, Figure, Part, Plan, run};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_part_measures_something() {
    let mut said = String::new();
    let report = run(Plan::quick(), |text| said += &format!("{text}\n")).await.unwrap();

    assert_eq!(report.sections.len(), Part::ALL.len());
    for section in &report.sections {
        assert!(!section.rows.is_empty(), "{section}");
        for (name, figures) in &section.rows {
            assert_eq!(figures.len(), section.columns.len(), "{name}: {section}");
            let numbers: Vec<f64> = figures.iter().filter_map(|f| f.number()).collect();
            assert!(!numbers.is_empty(), "{name} has no figure: {section}");
            let sound = |n: &f64| n.is_finite() && *n > 0.0;
            assert!(numbers.iter().all(sound), "{name}: {section}");
            assert!(said.contains(name.as_str()), "{name} was not said");
        }
    }
    let vacuum = run(Plan::quick().only(vec![Part::PostgresVacuum]), |_| ()).await.unwrap();
    assert_eq!(vacuum.sections[0].rows.len(), 12, "{:?}", vacuum.sections);

    let publish = &report.sections[2];
    let ratios = publish.rows.iter().filter(|(_, f)| matches!(f.last(), Some(Figure::Ratio(_))));
    assert_eq!(ratios.count(), 29, "every way to an engine has it bare: {publish}");
    assert_eq!(report.targets.len(), 13, "{:?}", report.targets);
}
