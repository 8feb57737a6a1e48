//! A new machine whose `ranch.toml` leads it to machines that are not those it names.

use std::fs;

use ranch_chaos::Layout;

use crate::LIMIT;
use crate::growing::Growing;

#[tokio::test]
async fn who_is_led_to_strangers_ends_and_says_where() {
    let layout = Layout { nodes: 4, ..Layout::default() };
    let (mut growing, _key) = Growing::found(&layout, 3).await;
    growing.list(4);
    let right = fs::read_to_string(growing.ranch.config()).unwrap();
    let addr = |id: u32| growing.ranch.node_place(id).unwrap().addr.to_string();
    let [first, second, third] = [1, 2, 3].map(addr);
    let exchanged = right
        .replace(&first, "first")
        .replace(&second, &first)
        .replace(&third, &second)
        .replace("first", &third);
    for (wrong, reason, remedy) in [
        (
            right.replace("name = \"test\"", "name = \"farm\""),
            "is a machine of the ranch `test`, and this ranch.toml is for `farm`",
            "correct [cluster] name, or the address of node",
        ),
        (exchanged, "the address of node", "correct the addresses in ranch.toml"),
    ] {
        fs::write(growing.ranch.config(), wrong).unwrap();
        let node = growing.ranch.node(4).unwrap();
        node.start().unwrap();
        let ended = node.wait_exit(LIMIT).await.expect("it ends by itself");
        let log = node.log();
        assert!(!ended.success() && log.contains(reason) && log.contains(remedy), "{log}");
        let account = growing.account().await.unwrap();
        assert_eq!(account["nodes"].as_array().unwrap().len(), 3, "{account:#}");
    }
    // One that is right is enough: an address may have been given to another machine since.
    let moved = right.replace(&second, "second").replace(&third, &second).replace("second", &third);
    fs::write(growing.ranch.config(), moved).unwrap();
    growing.ranch.node(4).unwrap().start().unwrap();
    growing.settled(&[1, 2, 3, 4], 3).await;
    let warning = format!("at {third}, the address of node 2, is node 3");
    let log = growing.ranch.node(4).unwrap().log();
    assert!(log.contains(&warning), "{log}");
}
