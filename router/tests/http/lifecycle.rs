//! Draining nodes and handing over shards.

use crate::support::{ADMIN, Router, WILL};

#[tokio::test]
async fn a_node_is_drained_by_number_or_name_and_undrained() {
    let router = Router::start().await;
    let admin = router.client(ADMIN);
    let drained = admin.post("/api/v2/admin/cluster/nodes/2/drain", "").await;
    let expected = serde_json::json!({
        "id": 2, "name": "node2", "draining": true, "leaving": false, "leads": 0,
    });
    assert_eq!((drained.status.as_u16(), drained.json()), (200, expected));
    let back = admin.post("/api/v2/admin/cluster/nodes/node2/undrain", "").await;
    assert_eq!(back.json()["draining"], false);
    let nobody = admin.post("/api/v2/admin/cluster/nodes/9/drain", "").await;
    assert_eq!(nobody.status.as_u16(), 404);
    assert_eq!(nobody.json()["detail"], "no node \"9\"; `ranch status` lists them");
    let by_get = admin.get("/api/v2/admin/cluster/nodes/2/drain").await;
    assert_eq!(by_get.status.as_u16(), 405);
    let tenant = router.client(WILL).post("/api/v2/admin/cluster/nodes/2/drain", "").await;
    assert_eq!(tenant.status.as_u16(), 403);
}

#[tokio::test]
async fn a_shard_is_handed_to_the_node_named_or_the_reason_is_said() {
    let router = Router::start().await;
    let admin = router.client(ADMIN);
    let at = "/api/v2/admin/cluster/shards/1/transfer";
    for (path, body, leader) in [
        (at.to_owned(), "", 2),
        (format!("{at}?to=1"), "", 1),
        (format!("{at}?to=node2"), "", 2),
        (at.to_owned(), r#"{"to":1}"#, 1),
        (at.to_owned(), r#"{"to":"node2"}"#, 2),
    ] {
        let reply = admin.post(&path, body).await;
        let expected = serde_json::json!({"shard": 1, "leader": leader});
        assert_eq!((reply.status.as_u16(), reply.json()), (200, expected), "{path} {body}");
    }
    for (path, body, status, detail) in [
        (format!("{at}?to=3"), "", 409, "node 3 is 9 entries behind"),
        (format!("{at}?to=7"), "", 404, "no node \"7\""),
        (at.to_owned(), r#"{"node":1}"#, 400, "unknown field `node`"),
        ("/api/v2/admin/cluster/shards/9/transfer".to_owned(), "", 404, "no shard 9"),
        ("/api/v2/admin/cluster/shards/x/transfer".to_owned(), "", 400, "the number of a shard"),
    ] {
        let reply = admin.post(&path, body).await;
        assert_eq!(reply.status.as_u16(), status, "{path} {body}");
        assert!(reply.text().contains(&detail.replace('"', "\\\"")), "{}", reply.text());
    }
}

#[tokio::test]
async fn a_node_is_taken_out_unless_that_leaves_too_few() {
    let router = Router::start().await;
    let admin = router.client(ADMIN);
    let leaving = admin.post("/api/v2/admin/cluster/nodes/node2/remove", "").await;
    assert_eq!((leaving.status.as_u16(), &leaving.json()["leaving"]), (202, &true.into()));
    let refused = admin.post("/api/v2/admin/cluster/nodes/3/remove", "").await;
    assert_eq!(refused.status.as_u16(), 409);
    assert_eq!(refused.json()["detail"], "without node 3 there would be too few");
    let nodes = admin.get("/api/v2/admin/cluster").await.json()["nodes"].clone();
    assert_eq!((&nodes[0]["duty"], &nodes[1]["duty"]), (&"serving".into(), &"leaving".into()));
}
