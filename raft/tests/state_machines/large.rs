//! Scrolls in parts: however a text came to be, its rows are the same, its hash is right, and
//! nothing of it stays behind.

use ranch_proto::schema::{
    Command, GetMany, GetPart, GetScroll, Op, OpStatus, ReadRequest, ScanScrolls, Scroll,
    read_reply, read_request,
};
use ranch_proto::value::{PART_BYTES, SCROLL_COST};
use xxhash_rust::xxh3::xxh3_128;

use crate::support::*;

const A: &str = "1.1.1/1.1.1/1.1.1";
const B: &str = "1.1.1/1.1.1/1.1.2";

/// A text of so many bytes in which every place looks different, a first line included.
fn text(bytes: usize) -> String {
    let mut text: String = (0_u32..).map(|n| format!("{n:07}\n")).take(bytes / 8 + 1).collect();
    text.truncate(bytes);
    text
}

fn limited(ops: Vec<Op>) -> Command {
    Command { scroll_max_bytes: Some(64 << 20), ..command(ops) }
}

fn answer(replica: &Replica, what: read_request::What) -> read_reply::What {
    let request = ReadRequest { tenant: TENANT.into(), what: Some(what), ..Default::default() };
    replica.reader().read(&request).unwrap().what.unwrap()
}

fn get(coordinate: &str) -> GetScroll {
    GetScroll { phext: PHEXT.into(), coordinate: key(coordinate).into() }
}

fn scroll(replica: &Replica, coordinate: &str) -> Option<Scroll> {
    let reply = answer(replica, read_request::What::Get(get(coordinate)));
    let read_reply::What::Get(reply) = reply else { panic!("not a scroll") };
    reply.scroll
}

fn part(replica: &Replica, revision: u64, part: u32) -> Option<bytes::Bytes> {
    let GetScroll { phext, coordinate } = get(A);
    let what = read_request::What::Part(GetPart { phext, coordinate, revision, part });
    let read_reply::What::Part(reply) = answer(replica, what) else { panic!("not a part") };
    reply.text
}

/// Asserts that the scroll has this text in every way it can be read.
fn assert_reads(replica: &Replica, expected: &str) {
    let scroll = scroll(replica, A).unwrap();
    assert_eq!(scroll.length, expected.len() as u64);
    assert_eq!(scroll.hash, xxh3_128(expected.as_bytes()).to_be_bytes().to_vec());
    let mut read = scroll.text.unwrap().to_vec();
    assert!(read.len() <= PART_BYTES);
    for n in 1..scroll.parts {
        read.extend_from_slice(&part(replica, scroll.revision, n).unwrap());
    }
    assert!(read == expected.as_bytes());
    assert_eq!(part(replica, scroll.revision, scroll.parts.max(1)), None);
    assert_eq!(part(replica, scroll.revision + 1, 0), None);
    assert_eq!(replica.text(A).as_deref(), Some(expected));
    let scan = ScanScrolls { phext: PHEXT.into(), texts: true, ..Default::default() };
    let scanned = replica.reader().scan(TENANT, &scan).unwrap().scrolls.remove(0);
    assert_eq!((scanned.parts, scanned.length), (scroll.parts, scroll.length));
    assert_eq!(scanned.text.is_none(), scroll.parts > 0);
}

#[test]
fn a_text_grown_by_appends_has_the_rows_of_one_written_whole() {
    let whole = text(3 * PART_BYTES + 5);
    let cuts = [0, 10, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 3 * PART_BYTES - 1, whole.len()];
    let commands = || -> Vec<_> {
        let pieces = cuts.windows(2).map(|cut| append(A, &whole[cut[0]..cut[1]]));
        pieces.map(|op| limited(vec![op])).collect()
    };
    let commands = commands();
    let entries: Vec<_> = commands.iter().map(|command| entry(7, vec![command.clone()])).collect();
    let (mut together, mut apart, mut reopened) = (Replica::new(), Replica::new(), Replica::new());
    together.apply(&entries);
    for (n, entry) in entries.iter().enumerate() {
        apart.apply(std::slice::from_ref(entry));
        assert_reads(&apart, &whole[..cuts[n + 1]]);
        reopened.apply(std::slice::from_ref(entry));
        reopened.reopen();
    }
    assert_eq!(together.rows(), apart.rows());
    assert_eq!(together.rows(), reopened.rows());
    assert_reads(&together, &whole);
    let usage = apart.reader().usage(TENANT).unwrap();
    assert_eq!(usage.storage_bytes, whole.len() as u64 + SCROLL_COST);
}

#[test]
fn parts_go_when_the_text_shrinks_or_goes() {
    let mut replica = Replica::new();
    let mut pairs = Vec::new();
    for length in [3 * PART_BYTES, PART_BYTES + 1, PART_BYTES, 5, 2 * PART_BYTES + 1] {
        let expected = text(length);
        replica.run(1, limited(vec![write(A, &expected)]));
        assert_reads(&replica, &expected);
        // Of each command a row with its id stays.
        pairs.push(replica.rows().pairs - replica.next);
    }
    assert_eq!([pairs[0], pairs[1], pairs[4]].map(|with| with - pairs[2]), [3, 2, 3]);
    assert_eq!(pairs[2], pairs[3]);
    replica.run(1, limited(vec![delete(A)]));
    assert_eq!(scroll(&replica, A), None);
    // Gone are header, body, parts and the phext's totals.
    assert_eq!(pairs[3] - (replica.rows().pairs - replica.next), 3);
}

#[test]
fn an_aborted_command_leaves_a_text_in_parts_as_it_was() {
    let mut replica = Replica::new();
    let first = text(PART_BYTES + 100);
    replica.run(1, limited(vec![write(A, &first)]));
    let bad = || vec![append(A, "x"), append(A, &first), write(A, "y"), at_revision(9, delete(B))];
    let entries = [
        entry(2, vec![limited(bad()), limited(vec![append(A, "1")]), limited(bad())]),
        entry(3, vec![limited(vec![append(A, "2")]), limited(bad())]),
    ];
    let answers = replica.apply(&entries);
    assert_eq!(answers[0][0].results[3], refused(OpStatus::OpPreconditionFailed, 0));
    assert_reads(&replica, &format!("{first}12"));
}

#[test]
fn commands_read_texts_of_bounded_size() {
    let mut replica = Replica::new();
    let large = text(PART_BYTES + 1);
    replica.run(1, limited(vec![write(A, &large), write(B, &large[1..])]));
    assert_eq!(replica.op(read(A)), refused(OpStatus::OpTooLarge, 1));
    assert_eq!(replica.op(read(B)), ok_text(2, &large[1..]));
    let results = replica.run(2, limited(vec![read(B); 5])).results;
    assert_eq!(results[4], refused(OpStatus::OpTooLarge, 2));
    assert_eq!(results[0], refused(OpStatus::OpAborted, 0));
    let each = replica.run(3, Command { independent: true, ..limited(vec![read(B); 5]) });
    assert_eq!(each.results[3].status(), OpStatus::OpOk);
    assert_eq!(each.results[4].status(), OpStatus::OpTooLarge);
}

#[test]
fn many_scrolls_are_read_as_of_one_moment_with_texts_up_to_a_bound() {
    let mut replica = Replica::new();
    let large = text(3 * PART_BYTES / 2);
    replica.run(1, limited(vec![write(A, &large), write(B, "small")]));
    let absent = "9.1.1/1.1.1/1.1.1";
    let asked = [B, A, absent, A, A, A, A, B];
    let many = GetMany { scrolls: asked.iter().map(|c| get(c)).collect() };
    let reply = answer(&replica, read_request::What::Many(many));
    let read_reply::What::Many(reply) = reply else { panic!("not many scrolls") };
    let found: Vec<_> = reply.scrolls.into_iter().map(|reply| reply.scroll).collect();
    assert_eq!(found.len(), asked.len());
    assert_eq!(found[2], None);
    let shape = |at: usize| {
        let scroll = found[at].as_ref().unwrap();
        (scroll.text.as_ref().map(bytes::Bytes::len), scroll.parts)
    };
    assert_eq!(shape(0), (Some(5), 0));
    assert_eq!(shape(1), (Some(PART_BYTES), 2));
    assert_eq!(shape(5), (Some(PART_BYTES), 2));
    assert_eq!(shape(6), (None, 2), "enough texts");
    assert_eq!(shape(7), (None, 1), "left out, though small");
}

#[test]
fn first_lines_are_whole_where_they_are_asked_for() {
    let mut replica = Replica::new();
    let long = |bytes: usize| "ä".repeat(bytes / 2);
    for (scroll, text, expected) in [
        (1, format!("{}\nmore", long(300)), (long(300), true, false)),
        (2, long(300), (long(300), false, false)),
        (3, format!("{}\n", long(256)), (long(256), true, false)),
        (4, format!("x{}\n{}", long(900), long(2 << 20)), (format!("x{}", long(900)), true, false)),
        (5, long(2 << 20), (long(64 << 10), true, true)),
        (6, format!("x{}", long(1 << 18)), (format!("x{}", long((64 << 10) - 2)), true, true)),
        (7, "short\nmore".to_owned(), ("short".to_owned(), true, false)),
        (8, "short".to_owned(), ("short".to_owned(), false, false)),
    ] {
        let coordinate = format!("1.1.1/1.1.1/1.1.{scroll}");
        replica.run(1, limited(vec![write(&coordinate, &text)]));
        let scan = ScanScrolls { phext: PHEXT.into(), whole_lines: true, ..Default::default() };
        let page = replica.reader().scan(TENANT, &scan).unwrap();
        let found = page.scrolls.into_iter().last().unwrap();
        let line = (found.first_line, found.more_lines, found.line_cut);
        assert!(line == expected, "{scroll}: {} {:?}", line.0.len(), (line.1, line.2));
        let header = replica.reader().scan(TENANT, &ScanScrolls { whole_lines: false, ..scan });
        let header = header.unwrap().scrolls.into_iter().last().unwrap();
        assert!(header.first_line.len() <= 256 && expected.0.starts_with(&header.first_line));
    }
}
