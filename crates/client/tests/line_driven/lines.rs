//! The lines that the example reads.

use crate::script::accepted;

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

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_and_skipped() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let line = format!("{port} 5 1 publish-1");
    let log = accepted("345", "").among(std::slice::from_ref(&line)).play(&[""]).await;
    assert_eq!(log.lines().filter(|it| it.starts_with(&line)).count(), 6, "{log}");
}
