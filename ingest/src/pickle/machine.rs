//! The machine that a pickle is a program for.

use std::collections::HashMap;

use super::{Array, Known, Node, Pickle, PickleError};

/// The newest protocol that is read.
const PROTOCOL_MAX: u8 = 5;
/// Bytes that arrays may be made of for each byte of the pickle: one that takes the same bytes again and again is none
/// that `NumPy` wrote.
const GROWTH_MAX: usize = 4;
/// Things that a call or a state is made of, at most: `NumPy` needs eight.
const PARTS_MAX: usize = 16;
/// Arrays have no more dimensions.
const DIMENSIONS_MAX: usize = 32;

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<usize>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, usize>,
    /// Bytes that may still be made into arrays.
    left: usize,
}

pub(super) fn run(bytes: &[u8]) -> Result<Pickle, PickleError> {
    let mut machine = Machine {
        bytes,
        at: 0,
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        left: bytes.len().saturating_mul(GROWTH_MAX),
    };
    if bytes.first() != Some(&0x80) {
        return machine.bad("not a pickle of protocol 2 to 5");
    }
    loop {
        let opcode = machine.take::<1>()?[0];
        if opcode == b'.' {
            let root = machine.pop()?;
            let nodes = machine.nodes;
            return Ok(Pickle { nodes, root });
        }
        machine.step(opcode)?;
    }
}

impl<'a> Machine<'a> {
    fn bad<T>(&self, what: impl Into<String>) -> Result<T, PickleError> {
        Err(PickleError::Bad {
            at: self.at,
            what: what.into(),
        })
    }

    fn step(&mut self, opcode: u8) -> Result<(), PickleError> {
        match opcode {
            0x80 => {
                let [protocol] = self.take()?;
                if !(2..=PROTOCOL_MAX).contains(&protocol) {
                    return self.bad(format!("a pickle of protocol {protocol}; 2 to 5 are read"));
                }
            }
            // A frame only says how much may be read at once.
            0x95 => drop(self.take::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.push(Node::None),
            0x88 | 0x89 => self.push(Node::Bool(opcode == 0x88)),
            b'J' | b'K' | b'M' | 0x8a | b'G' => self.number(opcode)?,
            b'X' | 0x8c | 0x8d | b'C' | b'B' | 0x8e | 0x96 => self.string(opcode)?,
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.memory(opcode)?,
            b'}' | b']' | b')' | b't' | 0x85..=0x87 | b'a' | b'e' | b's' | b'u' => {
                self.container(opcode)?
            }
            b'c' | 0x93 => self.global(opcode)?,
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            _ => return self.bad(format!("instruction {opcode:#04x} is not read")),
        }
        Ok(())
    }

    fn number(&mut self, opcode: u8) -> Result<(), PickleError> {
        let node = match opcode {
            b'J' => Node::Int(i32::from_le_bytes(self.take()?).into()),
            b'K' => Node::Int(self.take::<1>()?[0].into()),
            b'M' => Node::Int(u16::from_le_bytes(self.take()?).into()),
            b'G' => Node::Float(f64::from_be_bytes(self.take()?)),
            _ => {
                let [length] = self.take()?;
                let bytes = self.slice(length.into())?;
                if bytes.len() > 8 {
                    return self.bad("a whole number beyond 64 bits");
                }
                let negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
                let mut whole = [if negative { 0xff } else { 0 }; 8];
                whole[..bytes.len()].copy_from_slice(bytes);
                Node::Int(i64::from_le_bytes(whole))
            }
        };
        self.push(node);
        Ok(())
    }

    fn string(&mut self, opcode: u8) -> Result<(), PickleError> {
        let length = match opcode {
            0x8c | b'C' => u64::from(self.take::<1>()?[0]),
            b'X' | b'B' => u64::from(u32::from_le_bytes(self.take()?)),
            _ => u64::from_le_bytes(self.take()?),
        };
        let bytes = self.slice(length)?.to_vec();
        let node = match opcode {
            b'C' | b'B' | 0x8e | 0x96 => Node::Bytes(bytes),
            _ => match String::from_utf8(bytes) {
                Ok(text) => Node::Text(text),
                Err(_) => return self.bad("text that is no UTF-8"),
            },
        };
        self.push(node);
        Ok(())
    }

    fn memory(&mut self, opcode: u8) -> Result<(), PickleError> {
        let place = match opcode {
            b'q' | b'h' => u32::from(self.take::<1>()?[0]),
            b'r' | b'j' => u32::from_le_bytes(self.take()?),
            _ => u32::try_from(self.memo.len()).unwrap_or(u32::MAX),
        };
        if matches!(opcode, b'h' | b'j') {
            let Some(node) = self.memo.get(&place).copied() else {
                return self.bad(format!("nothing is kept at {place}"));
            };
            self.stack.push(node);
        } else {
            let top = self.top()?;
            self.memo.insert(place, top);
        }
        Ok(())
    }

    fn container(&mut self, opcode: u8) -> Result<(), PickleError> {
        match opcode {
            b'}' => self.push(Node::Dict(Vec::new())),
            b']' => self.push(Node::List(Vec::new())),
            b')' => self.push(Node::Tuple(Vec::new())),
            b't' => {
                let items = self.pop_mark()?;
                self.push(Node::Tuple(items));
            }
            0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0x84..opcode {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.push(Node::Tuple(items));
            }
            b'a' | b'e' => {
                let items = if opcode == b'a' {
                    vec![self.pop()?]
                } else {
                    self.pop_mark()?
                };
                let top = self.top()?;
                let Node::List(list) = &mut self.nodes[top] else {
                    return self.bad("items for what is no list");
                };
                list.extend(items);
            }
            _ => {
                let items = if opcode == b's' {
                    let value = self.pop()?;
                    vec![self.pop()?, value]
                } else {
                    self.pop_mark()?
                };
                let top = self.top()?;
                let (pairs, odd) = items.as_chunks::<2>();
                let Node::Dict(entries) = &mut self.nodes[top] else {
                    return self.bad("entries for what is no dictionary");
                };
                entries.extend(pairs.iter().map(|[key, value]| (*key, *value)));
                if !odd.is_empty() {
                    return self.bad("a key without a value");
                }
            }
        }
        Ok(())
    }

    fn global(&mut self, opcode: u8) -> Result<(), PickleError> {
        let at = self.at;
        let (module, name) = if opcode == b'c' {
            (self.line()?, self.line()?)
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            match (&self.nodes[module], &self.nodes[name]) {
                (Node::Text(module), Node::Text(name)) => (module.clone(), name.clone()),
                _ => return self.bad("a name that is no text"),
            }
        };
        let known = match (module.as_str(), name.as_str()) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                Known::Reconstruct
            }
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Known::Scalar,
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Known::FromBuffer,
            ("numpy", "ndarray") => Known::NdArray,
            ("numpy", "dtype") => Known::Dtype,
            ("_codecs", "encode") => Known::Encode,
            _ => {
                let name = format!("{module}.{name}");
                return Err(PickleError::Code { at, name });
            }
        };
        self.push(Node::Known(known));
        Ok(())
    }

    /// A known function is called, which is to say that we make what it would have made.
    fn reduce(&mut self) -> Result<(), PickleError> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Node::Tuple(arguments) = &self.nodes[arguments] else {
            return self.bad("arguments that are no tuple");
        };
        if arguments.len() > PARTS_MAX {
            return self.bad("a call with many arguments");
        }
        let arguments: Vec<&Node> = arguments.iter().map(|node| &self.nodes[*node]).collect();
        let used = used(&arguments);
        let Node::Known(function) = self.nodes[function] else {
            return self.bad("a call of what is no function");
        };
        let node = match (function, arguments.as_slice()) {
            (Known::Reconstruct, _) => Node::Unbuilt,
            (Known::Dtype, [Node::Text(kind), ..]) => Node::Kind(kind.clone()),
            (Known::Scalar, [Node::Kind(kind), Node::Bytes(bytes)]) => {
                Node::Array(self.array(kind, Vec::new(), false, bytes)?)
            }
            (
                Known::FromBuffer,
                [
                    Node::Bytes(bytes),
                    Node::Kind(kind),
                    Node::Tuple(shape),
                    Node::Text(order),
                ],
            ) => {
                let shape = self.shape(shape)?;
                Node::Array(self.array(kind, shape, order == "F", bytes)?)
            }
            // How protocol 2 writes bytes: as text of the same code points.
            (Known::Encode, [Node::Text(text), Node::Text(encoding)]) if encoding == "latin1" => {
                let bytes: Result<Vec<u8>, _> =
                    text.chars().map(|c| u8::try_from(u32::from(c))).collect();
                match bytes {
                    Ok(bytes) => Node::Bytes(bytes),
                    Err(_) => return self.bad("bytes beyond 255"),
                }
            }
            (known, _) => return self.bad(format!("{known:?} with other arguments than NumPy's")),
        };
        self.spend(used)?;
        self.push(node);
        Ok(())
    }

    /// What is on top gets its state.
    fn build(&mut self) -> Result<(), PickleError> {
        let (state, top) = (self.pop()?, self.top()?);
        let Node::Tuple(state) = &self.nodes[state] else {
            return self.bad("a state that is no tuple");
        };
        if state.len() > PARTS_MAX {
            return self.bad("a state of many parts");
        }
        let state: Vec<&Node> = state.iter().map(|node| &self.nodes[*node]).collect();
        let used = used(&state);
        let built = match (&self.nodes[top], state.as_slice()) {
            (
                Node::Unbuilt,
                [
                    _,
                    Node::Tuple(shape),
                    Node::Kind(kind),
                    fortran,
                    Node::Bytes(bytes),
                ],
            ) => {
                let fortran = matches!(fortran, Node::Bool(true) | Node::Int(1));
                let shape = self.shape(shape)?;
                Node::Array(self.array(kind, shape, fortran, bytes)?)
            }
            (Node::Kind(kind), [_, Node::Text(order), ..]) => {
                let bare = kind.trim_start_matches(['<', '>', '|', '=']);
                Node::Kind(format!("{order}{bare}"))
            }
            _ => return self.bad("a state that is none of a NumPy array of numbers"),
        };
        self.spend(used)?;
        self.nodes[top] = built;
        Ok(())
    }

    fn array(
        &self,
        kind: &str,
        shape: Vec<usize>,
        fortran: bool,
        bytes: &[u8],
    ) -> Result<Array, PickleError> {
        Array::decode(kind, shape, fortran, bytes).or_else(|what| self.bad(what))
    }

    fn shape(&self, lengths: &[usize]) -> Result<Vec<usize>, PickleError> {
        if lengths.len() > DIMENSIONS_MAX {
            return self.bad("an array of more than 32 dimensions");
        }
        let length = |node: &usize| {
            let Node::Int(length) = &self.nodes[*node] else {
                return None;
            };
            usize::try_from(*length).ok()
        };
        let lengths: Option<Vec<usize>> = lengths.iter().map(length).collect();
        lengths.map_or_else(|| self.bad("a length that is none"), Ok)
    }

    fn spend(&mut self, bytes: usize) -> Result<(), PickleError> {
        match self.left.checked_sub(bytes) {
            Some(left) => self.left = left,
            None => return self.bad("makes many arrays of the same bytes"),
        }
        Ok(())
    }

    fn push(&mut self, node: Node) {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
    }

    fn top(&self) -> Result<usize, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(top) if self.stack.len() > floor => Ok(*top),
            _ => self.bad("nothing is left to take"),
        }
    }

    fn pop(&mut self) -> Result<usize, PickleError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Result<Vec<usize>, PickleError> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => self.bad("an end without its beginning"),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let bytes = rest.first_chunk().copied();
        let bytes = bytes.ok_or(PickleError::Short { at: self.at })?;
        self.at += N;
        Ok(bytes)
    }

    fn slice(&mut self, length: u64) -> Result<&'a [u8], PickleError> {
        let short = PickleError::Short { at: self.at };
        let length = usize::try_from(length).map_err(|_| short.clone())?;
        let end = self.at.checked_add(length);
        let bytes = end
            .and_then(|end| self.bytes.get(self.at..end))
            .ok_or(short)?;
        self.at += length;
        Ok(bytes)
    }

    fn line(&mut self) -> Result<String, PickleError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            return Err(PickleError::Short { at: self.at });
        };
        let text = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length + 1;
        Ok(text)
    }
}

/// Bytes that are copied out of these.
fn used(nodes: &[&Node]) -> usize {
    let bytes = |node: &&Node| {
        if let Node::Bytes(bytes) = node {
            bytes.len()
        } else if let Node::Text(text) | Node::Kind(text) = node {
            text.len()
        } else {
            0
        }
    };
    nodes.iter().map(bytes).sum()
}
