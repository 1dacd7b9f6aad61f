#include "core/autograd.h"

#include <algorithm>
#include <cmath>
#include <queue>

#include "core/kernels/kernels.h"
#include "core/tensor_state.h"

namespace vitrine {
namespace {

thread_local bool recording_on = true;
thread_local bool anomaly_on = false;
thread_local uint64_t next_sequence = 0;

bool unshared(const Tensor& t) {
  return t.state().use_count() == 1 && t.storage().use_count() == 1 && t.is_contiguous();
}

/// into += g. The first arrival is adopted; a shared one is copied before it is written.
void gather(Tensor& into, Tensor g) {
  if (!into.defined()) {
    into = std::move(g);
    return;
  }
  if (!unshared(into)) into = into.clone();
  kernels::accumulate(g, into);
}

}  // namespace

bool recording() { return recording_on; }
RecordingGuard::RecordingGuard(bool on) : previous_(recording_on) { recording_on = on; }
RecordingGuard::~RecordingGuard() { recording_on = previous_; }
AnomalyGuard::AnomalyGuard() : previous_(anomaly_on) { anomaly_on = true; }
AnomalyGuard::~AnomalyGuard() { anomaly_on = previous_; }

// Saving.

void Saver::add(const Tensor& t) {
  if (!t.defined()) {
    saved_.emplace_back();
    return;
  }
  saved_.push_back({t, t.storage()->version()});
}

int64_t Saver::bytes() const {
  int64_t bytes = 0;
  for (const auto& s : saved_)
    if (s.tensor.defined()) bytes += s.tensor.numel() * size_of(s.tensor.dtype());
  return bytes;
}

Saved::Saved(const Node& node) : node_(node) {
  check<AutogradError>(
      !node.released, "{}: its saved tensors were dropped by an earlier backward; pass retain_graph = true to that one",
      node.name());
  for (const auto& [tensor, version] : node.saved) {
    if (!tensor.defined() || tensor.storage()->version() == version) continue;
    throw AutogradError(format("{}: saved tensor {} was changed in place by {}: version {}, saved at version {}",
                               node.name(), tensor, tensor.storage()->last_writer(), tensor.storage()->version(),
                               version));
  }
}
const Tensor& Saved::operator[](size_t i) const { return node_.saved.at(i).tensor; }
size_t Saved::size() const { return node_.saved.size(); }
bool Saved::needs(size_t input) const { return node_.edges.at(input).wanted(); }
const Shape& Saved::input_shape(size_t input) const {
  const Edge& edge = node_.edges.at(input);
  return edge.node ? edge.node->outputs[edge.index].shape : edge.leaf.shape();
}

// Destroying a long chain must not recurse: nodes whose last owner goes are put on a list that the outermost destructor
// empties.
Node::~Node() {
  thread_local std::vector<std::shared_ptr<Node>> doomed;
  thread_local bool draining = false;
  saved.clear();  // saved inputs own their nodes too
  for (Edge& edge : edges)
    if (edge.node && edge.node.use_count() == 1) doomed.push_back(std::move(edge.node));
  if (draining) return;
  draining = true;
  while (!doomed.empty()) {
    const std::shared_ptr<Node> last = std::move(doomed.back());
    doomed.pop_back();
  }
  draining = false;
}

namespace detail {

bool any_requires_grad(std::span<const Tensor> inputs) {
  for (const Tensor& t : inputs)
    if (t.defined() && t.requires_grad()) return true;
  return false;
}

void record(std::shared_ptr<Node> node, std::span<const Tensor> inputs, std::span<Tensor> outputs) {
  node->sequence = ++next_sequence;
  node->module_path = trace::module_path();
  node->edges.reserve(inputs.size());
  for (const Tensor& x : inputs) {
    Edge& edge = node->edges.emplace_back();
    if (!x.defined()) continue;
    if (x.node()) {
      edge.node = x.node();
      edge.index = x.output_index();
    } else if (x.requires_grad()) {
      edge.leaf = x;
    }
  }
  // A saved input owns no node that its edge does not own anyway; the values of anything else are kept without the
  // graph behind them.
  for (SavedTensor& s : node->saved) {
    const auto owned = [&](const Edge& edge) { return edge.node == s.tensor.node(); };
    if (s.tensor.node() && std::none_of(node->edges.begin(), node->edges.end(), owned)) s.tensor = s.tensor.detach();
  }
  node->outputs.reserve(outputs.size());
  for (uint32_t i = 0; i < outputs.size(); ++i) {
    Tensor& y = outputs[i];
    node->outputs.push_back({y.shape(), y.options()});
    bool kept = y.node() || y.requires_grad();  // an op that returns its input must not take over its place on the tape
    for (SavedTensor& s : node->saved) {
      if (s.tensor.defined() && s.tensor.same_as(y))
        s.tensor = y.detach();  // else node -> saved -> y -> node is a cycle
    }
    for (const Tensor& x : inputs) kept = kept || y.same_as(x);
    if (kept) y = y.detach();
    if (!is_floating(y.dtype())) continue;
    y.state()->node = node;
    y.state()->output_index = i;
  }
}

bool anomaly_mode() { return anomaly_on; }

void check_finite(const char* op, const char* direction, std::span<const Tensor> tensors) {
  const trace::OpScope scan("check_finite");  // reads through ops itself
  for (const Tensor& t : tensors) {
    if (!t.defined() || !is_floating(t.dtype())) continue;
    for (double v : t.to_vector()) {
      if (std::isfinite(v)) continue;
      const std::string& path = trace::module_path();
      throw AutogradError(format("{}{}: {} produced {} in {}", path.empty() ? "" : path + ": ", op, direction,
                                 std::isnan(v) ? "nan" : to_string(v), t));
    }
  }
}

std::string describe(std::span<const Tensor> tensors) {
  std::string s;
  for (const Tensor& t : tensors) s += (s.empty() ? "" : ", ") + to_string(t);
  return s;
}

Device device_of(std::span<const Tensor> tensors) {
  for (const Tensor& t : tensors)
    if (t.defined()) return t.device();
  return Device::cpu();
}

}  // namespace detail

// The backward pass.
namespace {

void accumulate_leaf(const Tensor& leaf, Tensor g) {
  detail::LeafState& state = *leaf.state()->leaf;
  for (const auto& hook : state.hooks) {
    const Tensor replaced = hook(g);
    if (replaced.defined()) g = replaced;
  }
  if (!state.grad.defined() && !unshared(g)) g = g.clone();
  gather(state.grad, std::move(g));
}

void check_gradient(const Node& node, size_t input, const Tensor& g, const Shape& shape, const TensorOptions& options) {
  check<AutogradError>(g.shape() == shape && g.dtype() == options.dtype && g.device() == options.device,
                       "{}: the gradient of input {} is {}, the input is {} {} {}", node.name(), input, g, shape,
                       options.dtype, options.device);
}

class BackwardPass {
 public:
  explicit BackwardPass(bool retain) : retain_(retain) {}
  ~BackwardPass() {
    for (; !heap_.empty(); heap_.pop()) heap_.top()->incoming.clear();  // only after an exception
  }

  void send(const Edge& edge, Tensor g) {
    if (edge.leaf.defined()) return accumulate_leaf(edge.leaf, std::move(g));
    Node& node = *edge.node;
    if (node.incoming.empty()) {
      node.incoming.resize(node.outputs.size());
      heap_.push(&node);
    }
    gather(node.incoming[edge.index], std::move(g));
  }

  void run() {
    while (!heap_.empty()) {
      Node& node = *heap_.top();
      heap_.pop();
      step(node);
    }
  }

 private:
  void step(Node& node) {
    std::vector<Tensor> douts = std::move(node.incoming);
    node.incoming.clear();
    for (const auto& [index, hook] : node.hooks) {
      if (!douts[index].defined()) continue;
      const Tensor replaced = hook(douts[index]);
      if (replaced.defined()) douts[index] = replaced;
    }
    for (size_t i = 0; i < douts.size(); ++i)
      if (!douts[i].defined()) douts[i] = zeros(node.outputs[i].shape, node.outputs[i].options);

    Gradients gradients = run_vjp(node, douts);
    check<AutogradError>(gradients.size() == node.edges.size(), "{}: vjp returned {} gradients for {} inputs",
                         node.name(), gradients.size(), node.edges.size());
    douts.clear();
    if (!retain_) {
      node.saved.clear();
      node.released = true;
    }
    for (size_t i = 0; i < gradients.size(); ++i) {
      const Edge& edge = node.edges[i];
      if (!gradients[i].defined() || !edge.wanted()) continue;
      const OutputInfo* info = edge.node ? &edge.node->outputs[edge.index] : nullptr;
      check_gradient(node, i, gradients[i], info ? info->shape : edge.leaf.shape(),
                     info ? info->options : edge.leaf.options());
      send(edge, std::move(gradients[i]));
    }
  }

  static Gradients run_vjp(const Node& node, std::span<const Tensor> douts) {
    const trace::PathScope path(node.module_path, trace::PathScope::Mode::replace);
    const trace::OpScope scope(node.name());
    if (!trace::observing() && !anomaly_on) return node.vjp(douts);
    trace::Scope timing(trace::Event::Kind::backward, node.name(), detail::device_of(douts));
    Gradients gradients = node.vjp(douts);
    if (trace::observing()) timing.describe(node.attributes(), detail::describe(douts), 0);
    if (anomaly_on) detail::check_finite(node.name(), "backward", gradients);
    return gradients;
  }

  struct Older {
    bool operator()(const Node* a, const Node* b) const { return a->sequence < b->sequence; }
  };
  std::priority_queue<Node*, std::vector<Node*>, Older> heap_;
  bool retain_;
};

}  // namespace

const std::shared_ptr<Node>& Tensor::node() const {
  static const std::shared_ptr<Node> none;
  return state_ ? state_->node : none;
}
uint32_t Tensor::output_index() const { return state_->output_index; }
bool Tensor::requires_grad() const { return state_ && (state_->node || state_->leaf); }

Tensor& Tensor::set_requires_grad(bool on) {
  check_defined("set_requires_grad", "this", *this);
  check<AutogradError>(is_leaf(), "set_requires_grad: {} is the output of {}; only leaves can be set", *this,
                       is_leaf() ? "" : node()->name());
  check<AutogradError>(!on || is_floating(dtype()), "set_requires_grad: {} is not floating", *this);
  if (on && !state_->leaf) state_->leaf = std::make_unique<detail::LeafState>();
  if (!on) state_->leaf.reset();
  return *this;
}

Tensor Tensor::grad() const { return state_ && state_->leaf ? state_->leaf->grad : Tensor(); }

void Tensor::set_grad(const Tensor& grad) {
  check<AutogradError>(state_ && state_->leaf, "set_grad: {} is not a leaf that takes gradients", *this);
  check(!grad.defined() || (grad.shape() == shape() && grad.dtype() == dtype() && grad.device() == device()),
        "set_grad: gradient {} for {}", grad, *this);
  state_->leaf->grad = grad;
}

void Tensor::register_hook(std::function<Tensor(const Tensor&)> f) const {
  check<AutogradError>(requires_grad(), "register_hook: {} needs no gradient", *this);
  if (node()) {
    node()->hooks.emplace_back(output_index(), std::move(f));
  } else {
    state_->leaf->hooks.push_back(std::move(f));
  }
}

void Tensor::backward() const { backward(BackwardOptions{}); }

void Tensor::backward(const BackwardOptions& options) const {
  check<AutogradError>(requires_grad(), "backward: {} is not on the tape: nothing it came from needs a gradient",
                       *this);
  const NoGrad no_grad;
  Tensor g = options.gradient;
  if (!g.defined()) {
    check<AutogradError>(numel() == 1, "backward: {} has {} elements; pass its gradient", *this, numel());
    g = ones(shape(), this->options());
  }
  check<AutogradError>(g.shape() == shape() && g.dtype() == dtype() && g.device() == device(),
                       "backward: gradient {} for {}", g, *this);
  BackwardPass pass(options.retain_graph);
  Edge root;
  if (node()) {
    root = {node(), output_index(), Tensor()};
  } else {
    root.leaf = *this;
  }
  pass.send(root, std::move(g));
  pass.run();
}

}  // namespace vitrine
