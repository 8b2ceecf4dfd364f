//! Writing pickles (protocol 4) that Python loads without a class of ours.

/// A pickle that is being written.
#[derive(Debug)]
pub struct PickleWriter(Vec<u8>);

impl PickleWriter {
    /// Begins one that is a dictionary; entries follow, a key ([`Self::text`]) before its value.
    #[must_use]
    pub fn dictionary() -> Self {
        Self(b"\x80\x04}(".to_vec())
    }

    /// The bytes, complete.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend(b"u.");
        self.0
    }

    /// Text.
    pub fn text(&mut self, text: &str) {
        self.0.push(b'X');
        self.length(text.len());
        self.0.extend(text.as_bytes());
    }

    /// A number.
    pub fn number(&mut self, number: f64) {
        self.0.push(b'G');
        self.0.extend(number.to_be_bytes());
    }

    /// A tuple of what `items` writes.
    pub fn tuple(&mut self, items: impl FnOnce(&mut Self)) {
        self.0.push(b'(');
        items(self);
        self.0.push(b't');
    }

    /// A dictionary from text to numbers.
    pub fn numbers<'a>(&mut self, entries: impl IntoIterator<Item = (&'a str, f64)>) {
        self.0.extend(b"}(");
        for (key, value) in entries {
            self.text(key);
            self.number(value);
        }
        self.0.push(b'u');
    }

    /// A dictionary from text to dictionaries from text to numbers.
    pub fn groups<'a>(&mut self, groups: impl IntoIterator<Item = (&'a str, Vec<(&'a str, f64)>)>) {
        self.0.extend(b"}(");
        for (key, entries) in groups {
            self.text(key);
            self.numbers(entries);
        }
        self.0.push(b'u');
    }

    /// A `NumPy` array of one dimension of float32.
    pub fn array(&mut self, values: &[f32]) {
        self.0.extend(
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R(K\x01",
        );
        self.0.push(b'J');
        self.length(values.len());
        self.0.extend(b"\x85cnumpy\ndtype\nX\x02\0\0\0f4\x89\x88\x87R(K\x03X\x01\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89B");
        self.length(size_of_val(values));
        self.0
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self.0.extend(b"tb");
    }

    /// # Panics
    /// Beyond 2 GiB, which no face's name or embedding is.
    fn length(&mut self, length: usize) {
        let length = i32::try_from(length).expect("below 2 GiB");
        self.0.extend(length.to_le_bytes());
    }
}
