//! The forward pass's surroundings: where values live, and the tape that remembers how to go back.
//!
//! A [`Graph`] runs operations on [`Var`]s, matrices of f32. Without a tape a value's memory returns to the
//! [`Workspace`] as soon as nobody holds it, so after its first step a running model allocates only trifles.
//! With a tape each operation leaves a closure that maps the gradient of its result to those of its inputs;
//! [`Graph::backward`] calls them in reverse. Operations are coarse (a whole attention, a whole SwiGLU), one
//! file each in `ops`, each with its gradient beside it.
//!
//! A graph is the door to the device: above this floor nobody else calls a kernel to compute a pass.

use std::sync::{Arc, Mutex};

use puna_kernels::{Cpu, elementwise};

use crate::{ParamId, RunOptions, Weight};

/// Buffers that were used and can be used again.
#[derive(Clone, Default)]
pub struct Workspace {
    free: Arc<Mutex<Vec<Vec<f32>>>>,
}

impl Workspace {
    /// Free buffers kept; more than this many at once are given back to the allocator.
    const KEPT: usize = 64;

    /// A buffer of `len` floats with arbitrary content.
    fn take(&self, len: usize) -> Buffer {
        let mut free = self.free.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let fitting = free.iter().enumerate().filter(|(_, b)| b.capacity() >= len);
        let best = fitting.min_by_key(|(_, b)| b.capacity()).map(|(i, _)| i);
        let mut values = best.map(|i| free.swap_remove(i)).unwrap_or_default();
        drop(free);
        values.resize(len, 0.0);
        Buffer { values, home: self.clone() }
    }

    /// Bytes of the buffers that nobody uses now.
    pub fn free_bytes(&self) -> usize {
        let free = self.free.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        free.iter().map(|values| values.capacity() * size_of::<f32>()).sum()
    }

    /// Gives these buffers back to the system; passes make new ones.
    pub fn clear(&self) {
        self.free.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
    }

    fn put(&self, values: Vec<f32>) {
        let mut free = self.free.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if free.len() < Self::KEPT {
            free.push(values);
        }
    }
}

/// Memory on loan from a workspace.
pub(crate) struct Buffer {
    values: Vec<f32>,
    home: Workspace,
}

impl Buffer {
    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The value `[rows, cols]` that was written into it.
    pub(crate) fn into_var(self, rows: usize, cols: usize) -> Var {
        assert_eq!(self.values.len(), rows * cols);
        Var { place: Place { rows, cols, node: None }, buffer: Arc::new(self) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.put(std::mem::take(&mut self.values));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NodeId(usize);

/// A value's shape and place on the tape: all that its gradient needs, without holding its memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    rows: usize,
    cols: usize,
    node: Option<NodeId>,
}

/// A matrix `[rows, cols]` of f32 that an operation made. Cloning shares it.
#[derive(Clone)]
pub struct Var {
    place: Place,
    buffer: Arc<Buffer>,
}

impl Var {
    /// Rows: usually tokens.
    pub fn rows(&self) -> usize {
        self.place.rows
    }

    /// Elements of a row.
    pub fn cols(&self) -> usize {
        self.place.cols
    }

    /// The values, row-major.
    pub fn values(&self) -> &[f32] {
        &self.buffer.values
    }

    /// Where its gradient goes.
    pub(crate) fn place(&self) -> Place {
        self.place
    }
}

/// The gradients of parameters, added up over any number of backward passes.
pub struct Gradients {
    by_param: Vec<Option<Vec<f32>>>,
}

impl Gradients {
    /// Gradients for the parameters with these lengths; `None` is a frozen one, for which nothing is
    /// computed.
    pub fn new(lens: impl IntoIterator<Item = Option<usize>>) -> Gradients {
        Gradients { by_param: lens.into_iter().map(|len| len.map(|len| vec![0.0; len])).collect() }
    }

    /// The gradient of a parameter, unless it is frozen.
    pub fn get(&self, id: ParamId) -> Option<&[f32]> {
        self.by_param.get(id.0)?.as_deref()
    }

    /// The same, to add to.
    pub fn get_mut(&mut self, id: ParamId) -> Option<&mut [f32]> {
        self.by_param.get_mut(id.0)?.as_deref_mut()
    }

    /// Sets all to zero.
    pub fn clear(&mut self) {
        self.by_param.iter_mut().flatten().for_each(|g| g.fill(0.0));
    }

    /// The Euclidean norm of all gradients together.
    pub fn norm(&self) -> f64 {
        self.by_param.iter().flatten().map(|g| elementwise::sum_of_squares(g)).sum::<f64>().sqrt()
    }
}

/// Maps the gradient of a result to the gradients of what it was made from.
type Backward<'m> = Box<dyn FnOnce(&mut Pass<'_>, &[f32]) + 'm>;

struct Record<'m> {
    output: NodeId,
    backward: Backward<'m>,
}

/// What an operation's gradient may touch on the way back.
pub(crate) struct Pass<'a> {
    /// The device.
    pub cpu: &'a Cpu,
    /// The gradients of parameters.
    pub params: &'a mut Gradients,
    /// Gradients of values, by node; `None` until something was added.
    nodes: &'a mut [Option<Vec<f32>>],
}

impl Pass<'_> {
    /// The gradient of a value, to add to; `None` if nothing before it needs one.
    pub fn of(&mut self, place: Place) -> Option<&mut [f32]> {
        let node = place.node?;
        Some(self.nodes[node.0].get_or_insert_with(|| vec![0.0; place.rows * place.cols]))
    }

    /// Adds to the gradient of a parameter, unless it is frozen.
    pub fn add_to_param(&mut self, weight: &Weight, gradient: &[f32]) {
        if let Some(d) = self.params.get_mut(weight.id()) {
            d.iter_mut().zip(gradient).for_each(|(d, g)| *d += g);
        }
    }

    /// Takes what was added to a value's gradient so far, or zeros; to be put back by [`Pass::set`].
    pub fn take(&mut self, place: Place) -> Vec<f32> {
        let taken = place.node.and_then(|node| self.nodes[node.0].take());
        taken.unwrap_or_else(|| vec![0.0; place.rows * place.cols])
    }

    /// Puts a value's gradient in place of what is there.
    pub fn set(&mut self, place: Place, gradient: Vec<f32>) {
        if let Some(node) = place.node {
            self.nodes[node.0] = Some(gradient);
        }
    }
}

struct Tape<'m> {
    n_nodes: usize,
    records: Vec<Record<'m>>,
}

/// What a parameter is multiplied with.
#[derive(Clone, Copy)]
pub enum WeightInput<'a> {
    /// Activations `[rows, the weight's columns]`.
    Rows(&'a Var),
    /// Tokens, each of which selects a row of the weight: an embedding.
    Tokens(&'a [u32]),
}

/// Is shown each parameter that meets an input, with the input, before they are multiplied.
pub type InputObserver<'m> = Box<dyn FnMut(ParamId, WeightInput) + 'm>;

/// Runs operations, with or without remembering them. `'m` is the model whose weights they use.
pub struct Graph<'m> {
    /// The device.
    pub(crate) cpu: &'m Cpu,
    pub(crate) options: RunOptions,
    workspace: Workspace,
    tape: Option<Tape<'m>>,
    pub(crate) observer: Option<InputObserver<'m>>,
}

impl<'m> Graph<'m> {
    /// A graph that only computes, exactly; see [`Graph::with_options`].
    pub fn inference(cpu: &'m Cpu, workspace: &Workspace) -> Graph<'m> {
        let options = RunOptions::default();
        Graph { cpu, options, workspace: workspace.clone(), tape: None, observer: None }
    }

    /// A graph that can be differentiated once.
    pub fn training(cpu: &'m Cpu, workspace: &Workspace) -> Graph<'m> {
        let tape = Tape { n_nodes: 0, records: Vec::new() };
        Graph { tape: Some(tape), ..Graph::inference(cpu, workspace) }
    }

    /// The same graph with an engine's options, which a graph that is differentiated ignores.
    pub fn with_options(self, options: &RunOptions) -> Graph<'m> {
        Graph { options: options.clone(), ..self }
    }

    /// The same graph, whose observer is shown the input of every parameter that is multiplied.
    pub fn with_observer(self, observer: impl FnMut(ParamId, WeightInput) + 'm) -> Graph<'m> {
        Graph { observer: Some(Box::new(observer)), ..self }
    }

    /// Whether operations are remembered.
    pub fn is_training(&self) -> bool {
        self.tape.is_some()
    }

    /// Memory for `len` floats, with arbitrary content.
    pub(crate) fn buffer(&self, len: usize) -> Buffer {
        self.workspace.take(len)
    }

    /// A value `[rows, cols]` that `fill` writes; it is given memory with arbitrary content.
    pub(crate) fn make(&self, rows: usize, cols: usize, fill: impl FnOnce(&mut [f32])) -> Var {
        let mut buffer = self.buffer(rows * cols);
        fill(&mut buffer.values);
        buffer.into_var(rows, cols)
    }

    /// A value `[rows, cols]` that no operation made and that needs no gradient, such as pixels; `fill`
    /// writes it, given memory with arbitrary content.
    pub fn constant(&self, rows: usize, cols: usize, fill: impl FnOnce(&mut [f32])) -> Var {
        self.make(rows, cols, fill)
    }

    /// The value with `change` applied: in place if nobody else holds it, otherwise to a copy.
    pub(crate) fn change(&self, var: Var, change: impl FnOnce(&mut [f32])) -> Var {
        let Var { place: Place { rows, cols, .. }, buffer } = var;
        match Arc::try_unwrap(buffer) {
            Ok(mut buffer) => {
                change(&mut buffer.values);
                buffer.into_var(rows, cols)
            }
            Err(shared) => self.make(rows, cols, |values| {
                values.copy_from_slice(&shared.values);
                change(values);
            }),
        }
    }

    /// Remembers how `output` was made, if there is a tape; returns it with a place for its gradient.
    pub(crate) fn record(
        &mut self,
        mut output: Var,
        backward: impl FnOnce(&mut Pass<'_>, &[f32]) + 'm,
    ) -> Var {
        if let Some(tape) = &mut self.tape {
            let node = NodeId(tape.n_nodes);
            tape.n_nodes += 1;
            tape.records.push(Record { output: node, backward: Box::new(backward) });
            output.place.node = Some(node);
        }
        output
    }

    /// Adds the gradient of `output` (a value with one element, such as a loss) by every parameter to
    /// `params`.
    ///
    /// # Panics
    /// If the graph has no tape or `output` was not made by it.
    pub fn backward(self, output: &Var, params: &mut Gradients) {
        let tape = self.tape.expect("only a training graph has gradients");
        let mut nodes: Vec<Option<Vec<f32>>> = (0..tape.n_nodes).map(|_| None).collect();
        let node = output.place.node.expect("made by this graph");
        nodes[node.0] = Some(vec![1.0; output.rows() * output.cols()]);
        for record in tape.records.into_iter().rev() {
            let Some(gradient) = nodes[record.output.0].take() else { continue };
            (record.backward)(&mut Pass { cpu: self.cpu, params, nodes: &mut nodes }, &gradient);
        }
    }
}
