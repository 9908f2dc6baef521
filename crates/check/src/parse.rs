//! From text to cases.

use std::time::Duration;

use postrider_wire::{QoS, Version};

use crate::{
    Case, CaseError,
    case::{Deed, Message, Step},
    hello::Hello,
    raw::Raw,
};

/// A case as it is read, before its table is filled in.
#[derive(Default)]
struct Draft {
    /// The title, and its line.
    name: (usize, String),
    statements: String,
    /// Columns of the table, and its rows.
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Line and text of each step.
    steps: Vec<(usize, String)>,
}

/// Reads a file of cases.
pub(crate) fn parse(file: &str) -> Result<Vec<Case>, CaseError> {
    let mut drafts: Vec<Draft> = Vec::new();
    for (index, text) in file.lines().enumerate() {
        let text = text.trim();
        let fail = |what| CaseError { line: index + 1, text: text.to_owned(), what };
        if text.is_empty() || text.starts_with("//") {
            continue;
        }
        if let Some(name) = text.strip_prefix("## ") {
            drafts.push(Draft { name: (index + 1, name.to_owned()), ..Draft::default() });
            continue;
        }
        let draft = drafts.last_mut().ok_or_else(|| fail("a case begins with '## its name'"))?;
        if text.starts_with('v') {
            draft.statements.push_str(if draft.statements.is_empty() { "" } else { " " });
            draft.statements.push_str(text);
        } else if let Some(columns) = text.strip_prefix("each ") {
            draft.columns =
                columns.split('|').map(|column| format!("{{{}}}", column.trim())).collect();
        } else if let Some(row) = text.strip_prefix("| ") {
            let row: Vec<_> = row.split(" | ").map(|cell| cell.trim().to_owned()).collect();
            if row.len() != draft.columns.len() {
                return Err(fail("a row has a cell for each name behind 'each'"));
            }
            draft.rows.push(row);
        } else {
            draft.steps.push((index + 1, text.to_owned()));
        }
    }
    let mut all = Vec::new();
    for draft in &drafts {
        draft.finish(&mut all)?;
    }
    Ok(all)
}

impl Draft {
    /// One case, or one for each row of the table.
    fn finish(&self, all: &mut Vec<Case>) -> Result<(), CaseError> {
        let (line, name) = &self.name;
        if self.columns.is_empty() {
            all.push(self.case(&[])?);
            return Ok(());
        }
        if !self.columns.iter().any(|column| name.contains(column)) {
            let what = "the title of a case with a table has a {column} in it";
            return Err(CaseError { line: *line, text: name.clone(), what });
        }
        for row in &self.rows {
            all.push(self.case(row)?);
        }
        Ok(())
    }

    fn case(&self, row: &[String]) -> Result<Case, CaseError> {
        let filled = |text: &str| {
            let cells = self.columns.iter().zip(row);
            cells.fold(text.to_owned(), |text, (column, cell)| text.replace(column, cell))
        };
        let named = [("v3.1.1 ", Version::V311), ("v5 ", Version::V5)];
        let found = named.iter().filter(|(name, _)| self.statements.contains(name));
        let mut steps = Vec::new();
        for (line, text) in &self.steps {
            let text = filled(text);
            let fail = |what| CaseError { line: *line, text: text.clone(), what };
            let (only, rest) = match text.split_once(": ") {
                Some(("3", rest)) => (Some(Version::V311), rest),
                Some(("5", rest)) => (Some(Version::V5), rest),
                _ => (None, text.as_str()),
            };
            steps.push((only, step(rest.trim()).map_err(fail)?));
        }
        Ok(Case {
            name: filled(&self.name.1),
            statements: self.statements.clone(),
            versions: found.map(|(_, version)| *version).collect(),
            steps,
        })
    }
}

fn step(text: &str) -> Result<Step, &'static str> {
    let (actors, rest) = text.split_once(' ').ok_or("a step is 'ACTOR deed'")?;
    let actors: Vec<_> = actors.chars().collect();
    if !actors.iter().all(char::is_ascii_uppercase) {
        return Err("an actor is one upper-case letter");
    }
    let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let rest = rest.trim();
    let deed = deed(verb, rest)?;
    if actors.len() > 1 && !matches!(deed, Deed::One(_)) {
        return Err("an actor is one upper-case letter");
    }
    Ok(Step { actors, deed })
}

fn deed(verb: &str, rest: &str) -> Result<Deed, &'static str> {
    let words: Vec<_> = rest.split_whitespace().collect();
    let owned = || words.iter().map(|word| (*word).to_owned()).collect();
    let lines = || rest.split(" | ").map(|line| line.trim().to_owned()).collect();
    Ok(match (verb, words.as_slice()) {
        ("open", []) => Deed::Open,
        ("hello", words) => Deed::Hello(Hello::parse(words)?),
        ("connect", words) => Deed::Connect(Hello::parse(words)?),
        ("hex", [_, ..]) => Deed::Hex(Raw::parse(rest)?),
        ("send", [_, ..]) => Deed::Send(Raw::parse(rest)?),
        ("publish", [_, ..]) => Deed::Publish(message(&words)?),
        ("receive", [_, ..]) => Deed::Receive(message(&words)?),
        ("one", [_, ..]) => Deed::One(message(&words)?),
        ("copies", [count, words @ .., identifiers]) => Deed::Copies {
            message: message(words)?,
            count: count.parse().map_err(|_| "how many copies?")?,
            identifiers: numbers(identifiers)?,
        },
        ("subscribe", [filter, level, words @ ..]) => subscribe(filter, level, words)?,
        ("unsubscribe", [filter]) => Deed::Unsubscribe((*filter).to_owned()),
        ("expect", [_, ..]) => Deed::Expect(lines()),
        ("perhaps", [_, ..]) => Deed::Perhaps(lines()),
        ("bytes", [_, ..]) => {
            Deed::Bytes(rest.split(" | ").map(Raw::parse).collect::<Result<_, _>>()?)
        }
        ("comes", [_, ..]) => Deed::Comes(Raw::parse(rest)?),
        ("ends", _) => Deed::Ends(owned()),
        ("rejects", [_, ..]) => Deed::Rejects(owned()),
        ("closed", []) => Deed::Closed,
        ("quiet", []) => Deed::Quiet,
        ("still", [time]) => {
            let time = time.strip_suffix("ms").and_then(|time| time.parse().ok());
            Deed::Still(Duration::from_millis(time.ok_or("a time is '300ms'")?))
        }
        ("drop", []) => Deed::Drop,
        ("leave", []) => Deed::Leave,
        ("aliases", [topic]) => Deed::Aliases((*topic).to_owned()),
        ("overrun", [topic]) => Deed::Overrun((*topic).to_owned()),
        _ => return Err("no such deed, or not with these words"),
    })
}

/// `TOPIC QOS [retain] [dup] PAYLOAD`.
fn message(words: &[&str]) -> Result<Message, &'static str> {
    let [topic, level, rest @ ..] = words else { return Err("a message has a topic and a QoS") };
    let has_retain = rest.first() == Some(&"retain");
    let rest = rest.get(usize::from(has_retain)..).unwrap_or_default();
    let has_dup = rest.first() == Some(&"dup");
    let payload = rest.get(usize::from(has_dup)..).unwrap_or_default().join(" ");
    Ok(Message {
        topic: (*topic).to_owned(),
        qos: qos(level)?,
        retain: has_retain,
        dup: has_dup,
        payload: payload.into_bytes(),
    })
}

/// Options by the names of the standard: `nl` No Local, `rap` Retain As Published, `rh=1` Retain Handling, `id=7`.
fn subscribe(filter: &str, level: &str, words: &[&str]) -> Result<Deed, &'static str> {
    let mut options = qos(level)?.bits();
    let mut identifier = None;
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("nl", "") => options |= 0b0100,
            ("rap", "") => options |= 0b1000,
            ("rh", "1") => options |= 0b01_0000,
            ("rh", "2") => options |= 0b10_0000,
            ("id", id) => identifier = Some(id.parse().map_err(|_| "an identifier is a number")?),
            _ => return Err("no such subscription option"),
        }
    }
    Ok(Deed::Subscribe { filter: filter.to_owned(), options, identifier })
}

/// `1,2,3`; `-` is none.
fn numbers(text: &str) -> Result<Vec<u32>, &'static str> {
    let numbers = text.split(',').filter(|number| *number != "-");
    numbers.map(|number| number.parse().map_err(|_| "identifiers are '1,2' or '-'")).collect()
}

fn qos(word: &str) -> Result<QoS, &'static str> {
    let bits = word.parse().map_err(|_| "QoS is 0, 1 or 2")?;
    QoS::from_bits(bits).ok_or("QoS is 0, 1 or 2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_name_their_line() {
        for (file, line, what) in [
            ("A connect", 1, "a case begins with '## its name'"),
            ("## x\nv5 [MQTT-1]\nA fly", 3, "no such deed, or not with these words"),
            ("## x\nAB connect", 2, "an actor is one upper-case letter"),
            ("## x\na connect", 2, "an actor is one upper-case letter"),
            ("## x\nA hex 1g", 2, "bytes are two hexadecimal digits or 'text'"),
            ("## x\nA subscribe a 3", 2, "QoS is 0, 1 or 2"),
            ("## x\nA still soon", 2, "a time is '300ms'"),
            ("## x\neach a\n| 1 | 2", 3, "a row has a cell for each name behind 'each'"),
            ("## x\neach a\n| 1", 1, "the title of a case with a table has a {column} in it"),
        ] {
            let error = parse(file).unwrap_err();
            assert_eq!((error.line, error.what), (line, what));
        }
    }

    #[test]
    fn a_step_may_belong_to_one_version() {
        let file = "## x\nv5 [MQTT-1]\nv3.1.1 [MQTT-2]\nA open\n5: A hex e0 'ab'\n3: A closed";
        let case = parse(file).unwrap().remove(0);
        assert_eq!(case.statements, "v5 [MQTT-1] v3.1.1 [MQTT-2]");
        let deeds = |version| case.steps(version).map(|step| step.deed.clone()).collect::<Vec<_>>();
        assert_eq!(deeds(Version::V5), [Deed::Open, Deed::Hex(Raw::parse("e0 'ab'").unwrap())]);
        assert_eq!(deeds(Version::V311), [Deed::Open, Deed::Closed]);
    }

    #[test]
    fn a_table_makes_a_case_of_each_row() {
        let file = "## {name} is {code}\nv5 [MQTT-1]\neach name | code\n| a b | 01\n| c | 02\nA hex {code}";
        let all = parse(file).unwrap();
        let names: Vec<_> = all.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["a b is 01", "c is 02"]);
        let deed = &all[1].steps[0].1.deed;
        assert_eq!(*deed, Deed::Hex(Raw::parse("02").unwrap()));
    }
}
