//! The lines that the example reads.

use std::net::TcpListener;

use crate::script::{Process, accepted};

#[tokio::test]
async fn a_line_that_is_wrong_is_told_and_skipped() {
    let wrong = [
        ("1883", "too short"),
        ("1883 4", "too short"),
        ("65536 4 1", "PORT is"),
        ("x 4 1", "PORT is"),
        ("1883 6 1", "LEVEL is"),
        ("1883 4 2", "CLEAN is"),
        ("1883 4 1 publish-3", "no such command"),
        ("1883 4 1 publish-1 more", "no such command"),
    ];
    let mut others: Vec<_> = wrong.iter().map(|(line, _)| (*line).to_owned()).collect();
    others.extend(["", "   "].map(str::to_owned));
    let log = accepted("4", "").among(&others).play(&[""]).await;
    for (line, what) in wrong {
        let told = log.lines().filter(|it| it.starts_with(&format!("{line}: ")));
        assert!(told.clone().count() >= 2, "{line}: {log}");
        assert!(told.clone().all(|it| it.contains(what)), "{line}: {log}");
    }
}

/// Tabs and spaces, a carriage return, bytes that are no text, and a last line without its end.
#[test]
fn lines_have_many_forms() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut process = Process::start(&[]);
    for line in
        ["{} 4 1\n", "  {}\t5  0   publish-1 \n", "{} 3 1 unsubscribe\r\n", "0{} 4 1\n", "{} 4 0"]
    {
        process.write_bytes(b"\xff\xfe\x00 4 1\n\x00\n\r\n");
        process.write_bytes(line.replace("{}", &port.to_string()).as_bytes());
        if !line.ends_with('\n') {
            process.end_input();
        }
        // Gone before the first packet, too, is an end.
        drop(listener.accept().unwrap());
    }
    let log = process.finish();
    assert_eq!(log.lines().count(), 10, "only what is wrong is told: {log}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_and_skipped() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let line = format!("{port} 5 1 publish-1");
    let log = accepted("345", "").among(std::slice::from_ref(&line)).play(&[""]).await;
    assert_eq!(log.lines().filter(|it| it.starts_with(&line)).count(), 6, "{log}");
}
