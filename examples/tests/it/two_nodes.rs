//! `two_nodes` ends by itself and has lost nothing.

use tavern_testkit::wait::within;

use crate::process::example;

#[tokio::test]
async fn it_tells_its_story_and_ends_well() {
    let output = within("the example ends", example("two_nodes").output()).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}\n{said}", output.status);
    let received: Vec<_> = said.lines().filter(|line| line.contains("received")).collect();
    assert_eq!(received.len(), 5, "{said}");
    assert!(said.contains("tavern-reconnected: 2 replayed, complete: true"), "{said}");
    assert!(said.ends_with("Nothing was lost, nothing came twice.\n"), "{said}");
}
