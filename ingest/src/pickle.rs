//! Python's pickles, read as data: nothing in them is ever run.
//!
//! A pickle is a program for a small machine that builds objects (PEP 3154, PEP 574; `pickletools` of Python lists its
//! instructions). Of protocols 2 to 5, this reads what lists, dictionaries, tuples, numbers, text and `NumPy`'s arrays are made of.
//! A pickle that names any other class or function is refused: to load it would be to run what its author chose.

mod array;
mod machine;
mod write;

use std::path::PathBuf;

pub use array::Array;
pub use write::PickleWriter;

/// Why a pickle is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickleError {
    /// It names a class or function that is none of `NumPy`'s arrays.
    #[error(
        "byte {at}: this pickle would run {name}; only numbers, text, lists, dictionaries and NumPy arrays are read"
    )]
    Code {
        /// Where.
        at: usize,
        /// Module and name.
        name: String,
    },
    /// It ends before it is complete.
    #[error("byte {at}: cut short")]
    Short {
        /// Where.
        at: usize,
    },
    /// It is no pickle, or one of a kind that is not read.
    #[error("byte {at}: {what}")]
    Bad {
        /// Where.
        at: usize,
        /// What is wrong.
        what: String,
    },
}

/// Why a file of pickles is not read.
#[derive(Debug, thiserror::Error)]
pub enum PickleFileError {
    /// The system refused.
    #[error("{path}: {why}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// What is in it.
    #[error("{path}: {why}", path = path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: PickleError,
    },
}

/// What a pickle holds. Objects that it holds more than once are there once.
#[derive(Debug)]
pub struct Pickle {
    nodes: Vec<Node>,
    root: usize,
}

#[derive(Clone, Debug)]
enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<usize>),
    Tuple(Vec<usize>),
    Dict(Vec<(usize, usize)>),
    Array(Array),
    /// A class or function that is known.
    Known(Known),
    /// A kind of numbers, such as `<f4`.
    Kind(String),
    /// An array of which nothing is known yet.
    Unbuilt,
}

/// Of `NumPy`, and what older protocols write bytes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Reconstruct,
    FromBuffer,
    Scalar,
    NdArray,
    Dtype,
    Encode,
}

/// A part of a pickle.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    pickle: &'a Pickle,
    node: usize,
}

impl Pickle {
    /// Reads the first pickle in `bytes`.
    ///
    /// Cost: one pass; memory for each object some 50 bytes beside its content.
    ///
    /// # Errors
    /// [`PickleError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PickleError> {
        machine::run(bytes)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`PickleFileError`].
    pub fn read(path: &std::path::Path) -> Result<Self, PickleFileError> {
        let bytes = std::fs::read(path).map_err(|why| PickleFileError::Io {
            path: path.to_owned(),
            why,
        })?;
        Self::parse(&bytes).map_err(|why| PickleFileError::Pickle {
            path: path.to_owned(),
            why,
        })
    }

    /// The object as a whole.
    #[must_use]
    pub fn root(&self) -> Value<'_> {
        Value {
            pickle: self,
            node: self.root,
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "each asks for one kind, whatever others there are"
)]
impl<'a> Value<'a> {
    fn node(&self) -> &'a Node {
        &self.pickle.nodes[self.node]
    }

    fn of(&self, node: usize) -> Self {
        Self { node, ..*self }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        match self.node() {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one; an array of one value counts.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self.node() {
            Node::Bool(value) => Some(f64::from(u8::from(*value))),
            Node::Int(value) => Some(*value as f64),
            Node::Float(value) => Some(*value),
            Node::Array(array) if array.values.len() == 1 => Some(array.values[0].into()),
            _ => None,
        }
    }

    /// The array, if it is one.
    #[must_use]
    pub fn array(&self) -> Option<&'a Array> {
        match self.node() {
            Node::Array(array) => Some(array),
            _ => None,
        }
    }

    /// The items of a list or tuple, in order.
    #[must_use]
    pub fn items(&self) -> Option<Vec<Self>> {
        match self.node() {
            Node::List(items) | Node::Tuple(items) => {
                Some(items.iter().map(|node| self.of(*node)).collect())
            }
            _ => None,
        }
    }

    /// The entries of a dictionary, in order.
    #[must_use]
    pub fn entries(&self) -> Option<Vec<(Self, Self)>> {
        match self.node() {
            Node::Dict(entries) => {
                let entry = |(key, value): &(usize, usize)| (self.of(*key), self.of(*value));
                Some(entries.iter().map(entry).collect())
            }
            _ => None,
        }
    }

    /// What it is, in a word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.node() {
            Node::None => "None",
            Node::Bool(_) => "a truth value",
            Node::Int(_) | Node::Float(_) => "a number",
            Node::Text(_) => "text",
            Node::Bytes(_) => "bytes",
            Node::List(_) => "a list",
            Node::Tuple(_) => "a tuple",
            Node::Dict(_) => "a dictionary",
            Node::Array(_) => "an array",
            Node::Known(_) | Node::Kind(_) | Node::Unbuilt => "a part of NumPy",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
