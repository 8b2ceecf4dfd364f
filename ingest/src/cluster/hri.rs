//! The Hierarchical Retrieval Index: a tree that searches and clusters faces one after the other.
//!
//! Its decisions are those of the published algorithm, so that its users can compare; ours are
//! [`super::decide`]'s. An *endnode* is one identity. A vector goes down from the root to the child
//! whose mean is nearest, again and again, until it stands before an endnode, and:
//! - joins it if its mean is at most [`Hri::threshold`] away;
//! - founds an endnode of its own else. That becomes a neighbour of the endnode found, or, if it is
//!   nearer to it than any neighbour is, both go under a new node in its place.
//!
//! A node's mean is that of all vectors below it, and is not normalised. There is one path and no
//! way back, and nothing is ever merged, split or moved.
//!
//! Two things are done differently, neither a decision. Sums are kept at each node, where the
//! original keeps all vectors and computes means anew from all children: an insertion costs the same
//! however many faces an identity has. And an endnode is left out among its own neighbours because
//! it is itself, where the original leaves out whoever is at distance 0, which rounding often misses.

/// How far two vectors are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// 1 - cosine, 0 to 2; 1 if either is zero.
    Cosine,
    /// The length of the difference.
    Euclidean,
}

impl Metric {
    fn between(self, a: &Sum, b: &Sum) -> f64 {
        match self {
            Self::Cosine if a.norm == 0.0 || b.norm == 0.0 => 1.0,
            Self::Cosine => {
                let dot = total(&a.values, &b.values, |a, b| a * b);
                (1.0 - dot / (a.norm * b.norm)).clamp(0.0, 2.0)
            }
            Self::Euclidean => {
                let (of_a, of_b) = (1.0 / a.count, 1.0 / b.count);
                total(&a.values, &b.values, |a, b| (a * of_a - b * of_b).powi(2)).sqrt()
            }
        }
    }
}

/// An identity: numbered from 0 as they are founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(pub usize);

/// The tree.
#[derive(Clone, Debug)]
pub struct Hri {
    metric: Metric,
    threshold: f64,
    /// The root comes first, and is never an endnode.
    nodes: Vec<Node>,
    labels: usize,
    dimension: Option<usize>,
}

#[derive(Clone, Debug)]
struct Node {
    parent: Option<usize>,
    content: Content,
    sum: Sum,
}

#[derive(Clone, Debug)]
enum Content {
    Children(Vec<usize>),
    Endnode(Label),
}

/// All vectors below a node, added up.
#[derive(Clone, Debug)]
struct Sum {
    values: Box<[f64]>,
    count: f64,
    norm: f64,
}

impl Hri {
    /// An empty tree. A vector joins whom it is at most `threshold` away from.
    #[must_use]
    pub fn new(metric: Metric, threshold: f64) -> Self {
        Self {
            metric,
            threshold,
            nodes: Vec::new(),
            labels: 0,
            dimension: None,
        }
    }

    /// From how far away an identity is joined.
    #[must_use]
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// How many identities there are.
    #[must_use]
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// The identity that `vector` (finite values) comes to, and the distance to its mean; `None` of an empty tree.
    /// Of children that are equally near, the first counts.
    ///
    /// Cost: a distance for each child of each node on the way. The tree is not balanced: in the
    /// worst case that is one for each node.
    ///
    /// # Panics
    /// If `vector` has another length than the first one inserted.
    #[must_use]
    pub fn search(&self, vector: &[f32]) -> Option<(Label, f64)> {
        let (node, distance) = self.descend(&self.checked(vector))?;
        match self.nodes[node].content {
            Content::Endnode(label) => Some((label, distance)),
            Content::Children(_) => None,
        }
    }

    /// Puts `vector` to an identity, an existing or a new one, and returns which.
    ///
    /// Cost: that of [`Hri::search`], again for each neighbour if an identity is founded, and a sum
    /// for each node on the way.
    ///
    /// # Panics
    /// If `vector` has another length than the first one inserted.
    pub fn insert(&mut self, vector: &[f32]) -> Label {
        let vector = self.checked(vector);
        self.dimension = Some(vector.values.len());
        let nearest = self.descend(&vector);
        let endnode = match nearest {
            Some((endnode, distance)) if distance <= self.threshold => endnode,
            Some((sibling, distance)) => self.found(sibling, distance),
            None => {
                let dimension = vector.values.len();
                let root = self.add(None, Content::Children(Vec::new()), Sum::zero(dimension));
                self.add_endnode(root)
            }
        };
        let mut above = Some(endnode);
        while let Some(node) = above {
            self.nodes[node].sum.add(&vector);
            above = self.nodes[node].parent;
        }
        match self.nodes[endnode].content {
            Content::Endnode(label) => label,
            Content::Children(_) => unreachable!("vectors are put to endnodes"),
        }
    }

    /// The endnode at the end of the greedy way, and the distance to it.
    fn descend(&self, vector: &Sum) -> Option<(usize, f64)> {
        let mut node = 0;
        let mut distance = self.metric.between(vector, &self.nodes.first()?.sum);
        while let Content::Children(children) = &self.nodes[node].content {
            let of = |child: &usize| self.metric.between(vector, &self.nodes[*child].sum);
            let near = children.iter().map(|child| (*child, of(child)));
            (node, distance) = near.min_by(|a, b| a.1.total_cmp(&b.1))?;
        }
        Some((node, distance))
    }

    /// A new endnode, for a vector that came to `sibling` and is too far away from it.
    fn found(&mut self, sibling: usize, distance: f64) -> usize {
        let parent = self.nodes[sibling].parent;
        let parent = parent.expect("an endnode is below the root");
        let Content::Children(children) = &self.nodes[parent].content else {
            unreachable!("a parent has children");
        };
        let others = children.iter().filter(|child| **child != sibling);
        let between = |other: &usize| {
            let (a, b) = (&self.nodes[sibling].sum, &self.nodes[*other].sum);
            self.metric.between(a, b)
        };
        let closest = others.map(between).min_by(f64::total_cmp);
        if closest.is_none_or(|closest| distance >= closest) {
            return self.add_endnode(parent);
        }
        // Both go under a new node, in the place where the sibling was.
        let sum = self.nodes[sibling].sum.clone();
        let both = self.nodes.len();
        self.nodes.push(Node {
            parent: Some(parent),
            content: Content::Children(vec![sibling]),
            sum,
        });
        self.nodes[sibling].parent = Some(both);
        if let Content::Children(children) = &mut self.nodes[parent].content {
            let place = children.iter_mut().find(|child| **child == sibling);
            *place.expect("a child of its parent") = both;
        }
        self.add_endnode(both)
    }

    fn add_endnode(&mut self, parent: usize) -> usize {
        let label = Label(self.labels);
        self.labels += 1;
        let sum = Sum::zero(self.nodes[parent].sum.values.len());
        self.add(Some(parent), Content::Endnode(label), sum)
    }

    fn add(&mut self, parent: Option<usize>, content: Content, sum: Sum) -> usize {
        let node = self.nodes.len();
        self.nodes.push(Node {
            parent,
            content,
            sum,
        });
        let above = parent.map(|parent| &mut self.nodes[parent].content);
        if let Some(Content::Children(children)) = above {
            children.push(node);
        }
        node
    }

    fn checked(&self, vector: &[f32]) -> Sum {
        let expected = self.dimension.unwrap_or(vector.len());
        assert_eq!(vector.len(), expected, "vectors are of one length");
        let mut sum = Sum::zero(vector.len());
        sum.values = vector.iter().copied().map(f64::from).collect();
        sum.count = 1.0;
        sum.norm = total(&sum.values, &sum.values, |a, b| a * b).sqrt();
        sum
    }
}

impl Sum {
    fn zero(dimension: usize) -> Self {
        Self {
            values: vec![0.0; dimension].into(),
            count: 0.0,
            norm: 0.0,
        }
    }

    fn add(&mut self, other: &Self) {
        for (sum, value) in self.values.iter_mut().zip(&other.values) {
            *sum += value;
        }
        self.count += other.count;
        self.norm = total(&self.values, &self.values, |a, b| a * b).sqrt();
    }
}

/// The sum of `f` over pairs of values. Eight sums side by side: one alone waits for itself.
fn total(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let (whole_a, rest_a) = a.as_chunks::<8>();
    let (whole_b, rest_b) = b.as_chunks::<8>();
    for (a, b) in whole_a.iter().zip(whole_b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += f(*a, *b);
        }
    }
    let rest = rest_a.iter().zip(rest_b).map(|(a, b)| f(*a, *b));
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

#[cfg(test)]
mod tests;
