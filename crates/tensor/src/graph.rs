//! The forward pass's surroundings: where values live, and the tape that remembers how to go back.
//!
//! A [`Graph`] runs operations on [`Var`]s, matrices of f32. Without a tape a value's memory returns to the
//! [`Workspace`] as soon as nobody holds it, so after its first step a running model allocates only trifles.
//! With a tape each operation leaves a closure that maps the gradient of its result to those of its inputs;
//! [`Graph::backward`] calls them in reverse. Operations are coarse (a whole attention, a whole SwiGLU), one
//! file each in `ops`, each with its gradient beside it.
//!
//! What the tape holds is kept small. A value before which no trained parameter stands has no place on it, and the
//! closure that would have held its inputs is dropped; gradients live in buffers of the workspace and go back as
//! soon as they were passed on; and a graph that [recomputes](Graph::recomputing) has a layer's tape only while the
//! layer's own gradient is computed.
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
        // A small value does not take the memory of a large one, which then would be made once more.
        let fits = |capacity: usize| capacity >= len && capacity <= 4 * len.max(1024);
        let fitting = free.iter().enumerate().filter(|(_, b)| fits(b.capacity()));
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
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

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

impl Place {
    /// Whether its gradient is needed.
    pub(crate) fn has_node(self) -> bool {
        self.node.is_some()
    }
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

    /// Which parameters are trained, for [`Graph::training_only`].
    pub fn trained(&self) -> Trained {
        Trained(self.by_param.iter().map(Option::is_some).collect())
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

/// Which parameters a graph is to have gradients of. Clones share one list.
#[derive(Clone, Debug)]
pub struct Trained(Arc<[bool]>);

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
    nodes: &'a mut [Option<Buffer>],
    workspace: &'a Workspace,
}

impl Pass<'_> {
    /// Memory for `len` floats, with arbitrary content.
    pub fn buffer(&self, len: usize) -> Buffer {
        self.workspace.take(len)
    }

    /// The gradient of a value, to add to; `None` if nothing before it needs one.
    pub fn of(&mut self, place: Place) -> Option<&mut [f32]> {
        let (d, is_new) = self.of_or_new(place)?;
        if is_new {
            d.fill(0.0);
        }
        Some(d)
    }

    /// The gradient of a value, and whether it is new: then it has arbitrary content, and is to be overwritten.
    pub fn of_or_new(&mut self, place: Place) -> Option<(&mut [f32], bool)> {
        let (node, workspace) = (place.node?, self.workspace);
        let is_new = self.nodes[node.0].is_none();
        let buffer = self.nodes[node.0].get_or_insert_with(|| workspace.take(place.rows * place.cols));
        Some((&mut buffer.values, is_new))
    }

    /// Adds to the gradient of a value, if it is needed.
    pub fn add(&mut self, place: Place, gradient: &[f32]) {
        let cpu = self.cpu;
        match self.of_or_new(place) {
            Some((d, true)) => d.copy_from_slice(gradient),
            Some((d, false)) => elementwise::add_assign(cpu, d, gradient),
            None => (),
        }
    }

    /// The same with memory that is done with.
    pub fn give(&mut self, place: Place, gradient: Buffer) {
        let Some(node) = place.node else { return };
        match &mut self.nodes[node.0] {
            Some(d) => elementwise::add_assign(self.cpu, &mut d.values, &gradient.values),
            free => *free = Some(gradient),
        }
    }

    /// Adds to the gradient of a parameter, unless it is frozen.
    pub fn add_to_param(&mut self, weight: &Weight, gradient: &[f32]) {
        if let Some(d) = self.params.get_mut(weight.id()) {
            d.iter_mut().zip(gradient).for_each(|(d, g)| *d += g);
        }
    }

    /// Takes what was added to a value's gradient so far, or zeros; to be put back by [`Pass::set`].
    pub fn take(&mut self, place: Place) -> Buffer {
        let taken = place.node.and_then(|node| self.nodes[node.0].take());
        taken.unwrap_or_else(|| {
            let mut zeros = self.workspace.take(place.rows * place.cols);
            zeros.values.fill(0.0);
            zeros
        })
    }

    /// Puts a value's gradient in place of what is there.
    pub fn set(&mut self, place: Place, gradient: Buffer) {
        if let Some(node) = place.node {
            self.nodes[node.0] = Some(gradient);
        }
    }
}

struct Tape<'m> {
    n_nodes: usize,
    records: Vec<Record<'m>>,
    /// `None` where all parameters are trained.
    trained: Option<Trained>,
}

/// What becomes of the values inside a layer of a graph that is differentiated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// They stay until they were used.
    All,
    /// They are computed again.
    Recomputed,
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
    kept: Kept,
    pub(crate) observer: Option<InputObserver<'m>>,
}

impl<'m> Graph<'m> {
    /// A graph that only computes, exactly; see [`Graph::with_options`].
    pub fn inference(cpu: &'m Cpu, workspace: &Workspace) -> Graph<'m> {
        let options = RunOptions::default();
        let workspace = workspace.clone();
        Graph { cpu, options, workspace, tape: None, kept: Kept::All, observer: None }
    }

    /// A graph that can be differentiated once, by any parameter.
    pub fn training(cpu: &'m Cpu, workspace: &Workspace) -> Graph<'m> {
        Graph::with_tape(cpu, workspace, None)
    }

    /// A graph that can be differentiated once, by these parameters. Others cost no gradient, and what only their
    /// gradients would need is not kept.
    pub fn training_only(cpu: &'m Cpu, workspace: &Workspace, trained: &Trained) -> Graph<'m> {
        Graph::with_tape(cpu, workspace, Some(trained.clone()))
    }

    fn with_tape(cpu: &'m Cpu, workspace: &Workspace, trained: Option<Trained>) -> Graph<'m> {
        let tape = Tape { n_nodes: 0, records: Vec::new(), trained };
        Graph { tape: Some(tape), ..Graph::inference(cpu, workspace) }
    }

    /// The same graph, which keeps of each layer its input alone and computes the layer again when its gradient is
    /// wanted (Chen et al. 2016): a third more time for a fraction of the memory, and the same bits.
    pub fn recomputing(self) -> Graph<'m> {
        Graph { kept: Kept::Recomputed, ..self }
    }

    /// Whether layers are to be run by [`Graph::recomputed`].
    pub fn is_recomputing(&self) -> bool {
        self.tape.is_some() && self.kept == Kept::Recomputed
    }

    /// The same graph with an engine's options, which a graph that is differentiated ignores.
    pub fn with_options(self, options: &RunOptions) -> Graph<'m> {
        Graph { options: options.clone(), ..self }
    }

    /// The same graph, whose observer is shown the input of every parameter that is multiplied.
    pub fn with_observer(self, observer: impl FnMut(ParamId, WeightInput) + 'm) -> Graph<'m> {
        Graph { observer: Some(Box::new(observer)), ..self }
    }

    /// Whether products count towards copies of their weights: those of models that run.
    pub(crate) fn counts_uses(&self) -> bool {
        self.tape.is_none() && self.kept == Kept::All
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

    /// Whether a parameter has a gradient.
    pub(crate) fn trains(&self, weight: &Weight) -> bool {
        let Some(tape) = &self.tape else { return false };
        tape.trained.as_ref().is_none_or(|Trained(list)| list.get(weight.id().0).copied().unwrap_or(false))
    }

    /// [`Graph::record`] of a value that was made from those at `inputs` and of `weights`: only if one of them needs
    /// a gradient.
    pub(crate) fn record_from(
        &mut self,
        output: Var,
        inputs: &[Place],
        weights: &[&Weight],
        backward: impl FnOnce(&mut Pass<'_>, &[f32]) + 'm,
    ) -> Var {
        let of_values = inputs.iter().any(|place| place.node.is_some());
        if of_values || weights.iter().any(|weight| self.trains(weight)) {
            return self.record(output, backward);
        }
        output
    }

    /// `run` applied to `x`, of which the tape keeps only `x`: on the way back it is run once more, with a tape of
    /// its own. `run` uses `weights` and gives the same both times. Without a tape it is just run.
    pub fn recomputed(
        &mut self,
        x: Var,
        weights: &[&Weight],
        run: impl Fn(&mut Graph<'m>, Var) -> Var + 'm,
    ) -> Var {
        let Some(tape) = self.tape.take() else { return run(self, x) };
        let (cpu, trained, input) = (self.cpu, tape.trained.clone(), x.clone());
        // Without the tape, but exactly as with it.
        let options = std::mem::take(&mut self.options);
        let y = run(self, Var { place: Place { node: None, ..x.place }, ..x });
        (self.tape, self.options) = (Some(tape), options);
        let source = input.place();
        self.record_from(y, &[source], weights, move |pass, dy| {
            let mut graph = Graph::with_tape(cpu, pass.workspace, trained);
            let inner = if source.has_node() { graph.new_node() } else { None };
            let y = run(&mut graph, Var { place: Place { node: inner, ..source }, ..input });
            let mut last = pass.buffer(dy.len());
            last.values.copy_from_slice(dy);
            let dx = graph.backward_from(&y, last, pass.params, inner);
            if let Some(dx) = dx {
                pass.give(source, dx);
            }
        })
    }

    /// A node of a value that no operation of this tape made.
    fn new_node(&mut self) -> Option<NodeId> {
        let tape = self.tape.as_mut()?;
        tape.n_nodes += 1;
        Some(NodeId(tape.n_nodes - 1))
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
    /// If the graph has no tape.
    pub fn backward(self, output: &Var, params: &mut Gradients) {
        assert!(self.is_training(), "only a training graph has gradients");
        let mut ones = self.buffer(output.rows() * output.cols());
        ones.values.fill(1.0);
        self.backward_from(output, ones, params, None);
    }

    /// The same from the gradient of `output`; returns that of the node `input`, if it was asked for and has one. Where
    /// `output` depends on nothing that is trained, there is nothing to do.
    fn backward_from(
        self,
        output: &Var,
        gradient: Buffer,
        params: &mut Gradients,
        input: Option<NodeId>,
    ) -> Option<Buffer> {
        let (tape, node) = (self.tape?, output.place.node?);
        let mut nodes: Vec<Option<Buffer>> = (0..tape.n_nodes).map(|_| None).collect();
        nodes[node.0] = Some(gradient);
        for record in tape.records.into_iter().rev() {
            let Some(gradient) = nodes[record.output.0].take() else { continue };
            let mut pass = Pass { cpu: self.cpu, params, nodes: &mut nodes, workspace: &self.workspace };
            (record.backward)(&mut pass, gradient.values());
        }
        input.and_then(|input| nodes[input.0].take())
    }
}
