//! A state that takes the place of another one.

use super::*;

#[tokio::test]
async fn a_replaced_state_is_a_new_snapshot() {
    let mut fixture = Fixture::new(Bounds::default());
    let mut stream = fixture.snapshot(&[""]);
    fixture.read(&mut stream);
    fixture.put("a", "1");
    fixture.put("b", "1");

    fixture.hub.replaced(&Arc::new(fixture.state.clone()));
    fixture.hub.publish();

    assert_eq!(fixture.read(&mut stream), ["s3:a,b"]);
    fixture.put("c", "1");
    assert_eq!(fixture.read(&mut stream), ["c4:c"]);
}

#[tokio::test]
async fn a_state_that_another_server_is_further_with_is_told_from_its_history() {
    let mut fixture = Fixture::new(Bounds::default());
    let mut stream = fixture.snapshot(&[""]);
    fixture.read(&mut stream);
    let hub = Arc::clone(&fixture.hub);
    fixture.hub = Arc::new(Hub::new(Bounds::default()));
    fixture.put("a", "1");
    fixture.put("b", "1");
    fixture.hub = hub;

    fixture.hub.overtaken(&Arc::new(fixture.state.clone()));
    fixture.hub.publish();

    assert_eq!(fixture.read(&mut stream), ["c2:a", "c3:b"]);
    fixture.put("c", "1");
    assert_eq!(fixture.read(&mut stream), ["c4:c"]);
}
