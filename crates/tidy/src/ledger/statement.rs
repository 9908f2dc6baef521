//! The statements of the two standards.

use std::collections::HashSet;

use anyhow::{Result, ensure};

/// One of the two standards whose statements are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standard {
    /// MQTT 3.1.1, OASIS Standard, 29 October 2014.
    Mqtt311,
    /// MQTT 5.0, OASIS Standard, 7 March 2019.
    Mqtt5,
}

/// A numbered statement.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The id as the standard prints it, without brackets.
    pub id: String,
    /// The standard's keyword.
    pub level: String,
    /// What is asked, in our own words.
    pub requirement: String,
}

/// The statements of both standards, in their order.
#[derive(Debug)]
pub struct Statements {
    lists: [Vec<Statement>; 2],
    ids: HashSet<(Standard, String)>,
}

impl Standard {
    /// Both, in order of age.
    pub const ALL: [Self; 2] = [Self::Mqtt311, Self::Mqtt5];

    /// As a citation spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mqtt311 => "v3.1.1",
            Self::Mqtt5 => "v5",
        }
    }

    /// As a heading spells it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Mqtt311 => "MQTT 3.1.1",
            Self::Mqtt5 => "MQTT 5.0",
        }
    }

    /// The table in the repository.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Mqtt311 => "docs/conformance/mqtt-3.1.1.tsv",
            Self::Mqtt5 => "docs/conformance/mqtt-5.0.tsv",
        }
    }
}

impl Statements {
    /// Reads the two tables: tab-separated, one header line, `id who topic level requirement`.
    ///
    /// # Errors
    /// If a row has not five fields or an id comes twice.
    pub fn parse(mqtt311: &str, mqtt5: &str) -> Result<Self> {
        let mut ids = HashSet::new();
        let mut read = |standard: Standard, text: &str| -> Result<Vec<Statement>> {
            let mut list = Vec::new();
            for row in text.lines().skip(1) {
                let fields: Vec<&str> = row.split('\t').collect();
                let [id, _, _, level, requirement] = fields.as_slice() else {
                    anyhow::bail!("{}: five fields in `{row}`", standard.file())
                };
                let is_new = ids.insert((standard, (*id).to_owned()));
                ensure!(is_new, "{}: {id} comes twice", standard.file());
                let (level, requirement) = ((*level).to_owned(), (*requirement).to_owned());
                list.push(Statement { id: (*id).to_owned(), level, requirement });
            }
            Ok(list)
        };
        let lists = [read(Standard::Mqtt311, mqtt311)?, read(Standard::Mqtt5, mqtt5)?];
        Ok(Self { lists, ids })
    }

    /// The statements of one standard.
    pub fn of(&self, standard: Standard) -> &[Statement] {
        let [mqtt311, mqtt5] = &self.lists;
        match standard {
            Standard::Mqtt311 => mqtt311,
            Standard::Mqtt5 => mqtt5,
        }
    }

    /// Whether a standard has a statement of this id.
    pub fn has(&self, standard: Standard, id: &str) -> bool {
        self.ids.contains(&(standard, id.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_table_is_an_error() {
        let good = "header\nMQTT-1-1\ta\tb\tMUST\tx\n";
        assert!(Statements::parse(good, good).is_ok());
        assert!(Statements::parse("header\nMQTT-1-1\ta\tb\tMUST\n", good).is_err());
        assert!(Statements::parse("header\nA\t\t\t\t\nA\t\t\t\t\n", good).is_err());
    }
}
