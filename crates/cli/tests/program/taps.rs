//! `--tap`, and `postrider packets`, which prints what it has written.

use crate::process::{Broker, run};

#[test]
fn a_tap_is_printed_packet_by_packet() {
    let broker = Broker::start(&["--user", "ann:hush"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tap");
    let path = path.to_str().unwrap();
    let text = format!("one\n{}", "x".repeat(9000));
    let publish = ["-u", "ann", "-P", "hush", "-i", "me", "-t", "a/b", "-m", &text, "-q", "1"];
    broker.publish(&[&publish[..], &["--tap", path]].concat());
    let ended = run(&["packets", path]);
    ended.check(0, &[]);
    let lines: Vec<_> = ended.out.iter().map(|line| line.splitn(3, ' ').nth(2).unwrap()).collect();
    assert_eq!(lines[0], format!("#1 - opened to tcp://127.0.0.1:{}", broker.port));
    let connect =
        "#1 > CONNECT 5.0 client_id=\"me\" keep_alive=60 clean_start user_name=3B password=5B";
    assert!(lines[1].starts_with(connect), "{}", lines[1]);
    assert!(lines[2].starts_with("#1 < CONNACK Success"), "{}", lines[2]);
    assert!(lines[3].starts_with("#1 > PUBLISH \"a/b\" qos=1 id=1 40"), "{}", lines[3]);
    assert!(lines[3].ends_with(" of 9004B"), "{}", lines[3]);
    assert!(lines[4].starts_with("#1 < PUBACK id=1 "), "{}", lines[4]);
    assert!(lines[5].starts_with("#1 > DISCONNECT Success"), "{}", lines[5]);
    assert_eq!(lines[6..], ["#1 - closed"]);
    let date = ended.out[0].split(' ').next().unwrap();
    assert_eq!((date.len(), date.matches('-').count()), (10, 2), "{date}");
    let bytes = std::fs::read(path).unwrap();
    assert!(!bytes.windows(4).any(|window| window == b"hush"));

    let ended = run(&["packets", path, "--payloads"]);
    assert!(ended.out[3].contains("\"one\\nxxx"), "{}", ended.out[3]);
    run(&["packets", path, "-c", "2"]).check_out(&[]);
}

#[test]
fn what_is_no_tap_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture");
    let path = path.to_str().unwrap();
    run(&["packets", path]).check(1, &[path]);
    std::fs::write(path, b"GIF89a").unwrap();
    run(&["packets", path]).check(1, &[path, "not a tap"]);
}
