//! The smallest ONNX models: whatever goes in, the same tensors come out.

/// A tensor: name, shape and values.
pub(crate) type Constant<'a> = (&'a str, Vec<usize>, Vec<f32>);

/// A model with one input of this shape that gives `outputs`. Field numbers are those of onnx.proto3.
pub(crate) fn constant_model(input: &str, shape: &[usize], outputs: &[Constant<'_>]) -> Vec<u8> {
    let mut graph = bytes(2, b"constant");
    for (name, shape, values) in outputs {
        let held = format!("{name}_held");
        let node = [
            bytes(1, held.as_bytes()),
            bytes(2, name.as_bytes()),
            bytes(4, b"Identity"),
        ];
        graph.extend(bytes(1, &node.concat()));
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut tensor: Vec<u8> = shape.iter().flat_map(|d| number(1, *d as u64)).collect();
        tensor.extend([number(2, 1), bytes(8, held.as_bytes()), bytes(9, &raw)].concat());
        graph.extend(bytes(5, &tensor));
        graph.extend(bytes(12, &value_info(name, shape)));
    }
    graph.extend(bytes(11, &value_info(input, shape)));
    [number(1, 8), bytes(7, &graph), bytes(8, &number(2, 13))].concat()
}

fn value_info(name: &str, shape: &[usize]) -> Vec<u8> {
    let dims = shape
        .iter()
        .flat_map(|d| bytes(1, &number(1, *d as u64)))
        .collect::<Vec<u8>>();
    let tensor = [number(1, 1), bytes(2, &dims)].concat();
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [
        varint(field << 3 | 2),
        varint(value.len() as u64),
        value.to_vec(),
    ]
    .concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
    out
}
