//! A table of TOML, read key by key.
//!
//! Records that the program of the initrd reads are taken from TOML's own table: structures that serde fills would make it
//! half as large again as all the rest that reads them.

use std::fmt::Display;
use std::str::FromStr;

use thiserror::Error;
use toml::de::{DeTable, DeValue};

/// Why a record is not understood, as the end of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Not TOML; the message names the line.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// A key has no value, or one that is not for it.
    #[error("line {line}: {key}: {what}")]
    Value {
        /// The line that the table starts in or the value stands in, from 1 on.
        line: usize,
        /// The key.
        key: String,
        /// What is wrong with it.
        what: String,
    },
}

/// A table; keys that nobody asks for are found by [`Self::only`].
#[derive(Clone, Copy)]
pub struct Record<'a> {
    table: &'a DeTable<'a>,
    text: &'a str,
    at: usize,
}

/// Reads a text as TOML and hands its table to `read`.
pub fn read<T>(
    text: &str,
    read: impl FnOnce(Record<'_>) -> Result<T, RecordError>,
) -> Result<T, RecordError> {
    let table = DeTable::parse(text)?;
    read(Record { table: table.get_ref(), text, at: 0 })
}

impl<'a> Record<'a> {
    fn error(self, key: &str, what: &str) -> RecordError {
        let at = self.table.get(key).map_or(self.at, |value| value.span().start);
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        RecordError::Value { line, key: key.to_owned(), what: what.to_owned() }
    }

    fn get(self, key: &str) -> Option<&'a DeValue<'a>> {
        self.table.get(key).map(|value| value.get_ref())
    }

    fn need<T>(self, key: &str, value: Option<T>) -> Result<T, RecordError> {
        value.ok_or_else(|| {
            let what = if self.get(key).is_some() { "is of another type" } else { "is missing" };
            self.error(key, what)
        })
    }

    /// Refuses keys that are not among `known`.
    pub fn only(self, known: &[&str]) -> Result<(), RecordError> {
        let mut keys = self.table.iter().map(|(key, _)| key.get_ref());
        match keys.find(|key| !known.contains(&key.as_ref())) {
            Some(key) => Err(self.error(key, "is not known")),
            None => Ok(()),
        }
    }

    /// Whether it has the key.
    pub fn has(self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// A text.
    pub fn text(self, key: &str) -> Result<&'a str, RecordError> {
        self.need(key, self.get(key).and_then(DeValue::as_str))
    }

    /// A number that is not negative.
    pub fn number(self, key: &str) -> Result<u64, RecordError> {
        let number = self.get(key).and_then(DeValue::as_integer);
        let number =
            number.and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
        self.need(key, number)
    }

    /// True or false; false where nothing is said.
    pub fn flag(self, key: &str) -> Result<bool, RecordError> {
        let value = self.get(key);
        self.need(key, value.map_or(Some(false), DeValue::as_bool))
    }

    /// A text that means something.
    pub fn parsed<T: FromStr<Err: Display>>(self, key: &str) -> Result<T, RecordError> {
        self.text(key)?.parse().map_err(|error: T::Err| self.error(key, &error.to_string()))
    }

    /// A list of texts.
    pub fn texts(self, key: &str) -> Result<Vec<String>, RecordError> {
        let texts = self.get(key).and_then(DeValue::as_array).and_then(|list| {
            list.iter().map(|text| text.get_ref().as_str().map(str::to_owned)).collect()
        });
        self.need(key, texts)
    }

    /// A list of texts that mean something; empty where nothing is said.
    pub fn list<T: FromStr<Err: Display>>(self, key: &str) -> Result<Vec<T>, RecordError> {
        if !self.has(key) {
            return Ok(Vec::new());
        }
        let parse = |text: String| {
            text.parse().map_err(|error: T::Err| self.error(key, &error.to_string()))
        };
        self.texts(key)?.into_iter().map(parse).collect()
    }

    /// A table in it; an empty one where nothing is said.
    pub fn table(self, key: &str) -> Result<Option<Self>, RecordError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let table = self.need(key, value.get_ref().as_table())?;
        Ok(Some(Self { table, text: self.text, at: value.span().start }))
    }

    /// A list of tables; empty where nothing is said.
    pub fn tables(self, key: &str) -> Result<Vec<Self>, RecordError> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let inner = |value: &'a toml::Spanned<DeValue<'a>>| {
            let table = value.get_ref().as_table()?;
            Some(Self { table, text: self.text, at: value.span().start })
        };
        let tables = value.as_array().and_then(|list| list.iter().map(inner).collect());
        self.need(key, tables)
    }

    /// Its keys, in order.
    pub fn keys(self) -> impl Iterator<Item = &'a str> {
        self.table.iter().map(|(key, _)| key.get_ref().as_ref())
    }

    /// The one of some words that stands there.
    pub fn one_of<T: Copy>(self, key: &str, known: &[(&str, T)]) -> Result<T, RecordError> {
        let text = self.text(key)?;
        let found = known.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let words: Vec<_> = known.iter().map(|(word, _)| *word).collect();
            self.error(key, &format!("{text:?} is none of {}", words.join(", ")))
        })
    }

    /// An error about a value.
    pub fn refuse(self, key: &str, what: &str) -> RecordError {
        self.error(key, what)
    }
}
