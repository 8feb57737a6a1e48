//! The blocks of commands of `docs/deploy.md`.

use std::fs;
use std::path::Path;

/// Machines the document knows.
const MACHINES: [&str; 5] = ["desk", "ranch1", "ranch2", "ranch3", "ranch4"];

/// Commands as they stand in the document.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// Where they are run, from the block's first line.
    pub machines: Vec<String>,
    /// They themselves, that line included.
    pub script: String,
    /// What they are to print, from comments that begin with `says: `.
    pub says: Vec<String>,
}

/// All blocks of the document, in its order.
pub fn blocks() -> Vec<Block> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deploy.md");
    parse(&fs::read_to_string(page).unwrap())
}

/// A block without a machine is a mistake: it would be read by people and run by nobody.
fn parse(text: &str) -> Vec<Block> {
    let fenced = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    fenced.map(block).collect()
}

fn block(script: &str) -> Block {
    let head = script.lines().next().unwrap_or_default();
    let machines: Vec<_> = head.trim_start_matches("# ").split(", ").map(str::to_owned).collect();
    let known = machines.iter().all(|machine| MACHINES.contains(&machine.as_str()));
    assert!(head.starts_with("# ") && known, "a block is headed by its machines, not: {head}");
    let says = script.lines().filter_map(|line| Some(line.split_once("# says: ")?.1.to_owned()));
    Block { says: says.collect(), script: script.to_owned(), machines }
}

#[test]
fn blocks_are_read() {
    let text =
        "```sh\n# ranch1, ranch2\na  # says: yes\nb\n```\n```toml\nx = 1\n```\n```sh\n# desk\n```";
    let blocks = parse(text);
    assert_eq!(blocks.len(), 2);
    assert_eq!(blocks[0].machines, ["ranch1", "ranch2"]);
    assert_eq!((blocks[0].says.len(), blocks[0].says[0].as_str()), (1, "yes"));
    assert!(blocks[0].script.ends_with("b\n"));
}

#[test]
#[should_panic(expected = "headed by its machines")]
fn a_block_without_a_machine_is_a_mistake() {
    parse("```sh\nls\n```");
}
