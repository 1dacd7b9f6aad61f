#pragma once
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/autograd.h"
#include "core/random.h"
#include "core/tensor.h"

/// Modules: what has parameters or state. A module is a struct whose members are its parameters, buffers and children;
/// each is named once, where it is made:
///
///     struct Mlp final : Layer<Mlp> {
///       Linear fc1, fc2;
///       Mlp(Scope scope, int64_t dim, int64_t hidden)
///           : Layer(std::move(scope)), fc1(sub("fc1"), dim, hidden), fc2(sub("fc2"), hidden, dim) {}
///       Tensor forward(const Tensor& x) { return fc2(ops::gelu(fc1(x))); }
///     };
///
/// Paths ("blocks.0.attn.qkv.weight") are the keys of the reference checkpoints.
namespace vitrine::nn {

class Module;

/// What a module is born with: its place in the tree, and where and how its parameters are made. Parameters are drawn
/// on the CPU, in the order of construction, so that every device starts from the same bits.
struct Scope {
  Module* parent = nullptr;
  std::string name = {};
  Device device = Device::cpu();
  Dtype dtype = Dtype::f32;
  Generator* rng = nullptr;  ///< draws initial values, then dropout; the thread's default_generator() if null
  bool blank = false;        ///< parameters are a zero each, expanded: a model to count, which costs no memory
};

/// Draws the initial values of a parameter (nn/init.h).
using Init = std::function<Tensor(const Shape& shape, Generator& rng)>;

/// Whether a buffer is part of the state_dict. A derived one is written for programs that expect it, but follows from
/// the configuration: loading neither misses it nor takes its values.
enum class Persistent { no, yes, derived };
enum class Strict { no, yes };  ///< whether load_state_dict throws when keys do not fit

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// Copies `values` into `own` by name. @throws ShapeError, beginning with `what`, for the first one that is missing or
/// of another shape; nothing is written then
void copy_by_name(const char* what, const NamedTensors& own, const NamedTensors& values);

/// What load_state_dict found.
struct LoadReport {
  std::vector<std::string> loaded, missing, unexpected,
      mismatched;  ///< mismatched: "head.weight: is [10, 8], got [5, 8]"
  bool complete() const { return missing.empty() && unexpected.empty() && mismatched.empty(); }
  std::string text() const;  ///< what does not fit, in one line; empty if all does
};

/// A node of the tree of parameters. Neither copied nor moved: children keep a pointer to their parent.
class Module {
 public:
  explicit Module(Scope scope);
  virtual ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  const std::string& name() const { return name_; }
  /// What a call of this module adds to the path of the call around it: its name, behind those of the lists it is in.
  const std::string& called() const { return called_; }
  std::string path() const;  ///< from the root, "blocks.3.attn"; empty for the root
  Device device() const { return device_; }
  Generator& rng() const { return *rng_; }
  const std::vector<Module*>& children() const { return children_; }

  /// Dropout and stochastic depth act in training only. Both recurse.
  bool training() const { return training_; }
  void train(bool on = true);
  void eval() { train(false); }

  /// Leaves that take gradients, in order: own first, then those of the children.
  NamedTensors parameters() const;
  int64_t parameter_count() const;
  /// Parameters and persistent buffers, in the same order.
  NamedTensors state_dict() const;
  /// Copies values by name, converting dtype and device. @throws ShapeError listing every missing, unexpected and
  /// mis-shaped key at once if strict and any exists; nothing is written then
  LoadReport load_state_dict(const NamedTensors& values, Strict strict = Strict::yes);
  void zero_grad();

  /// `hook` sees the output of every call of a module whose forward returns a tensor; what it returns, if defined,
  /// replaces it.
  using ForwardHook = std::function<Tensor(const Module& module, const Tensor& output)>;
  void register_forward_hook(ForwardHook hook) { hooks_.push_back(std::move(hook)); }

 protected:
  Scope sub(std::string name);  ///< the scope of a child
  Tensor param(std::string name, const Shape& shape, const Init& init);
  Tensor buffer(std::string name, const Tensor& value, Persistent persistent);
  const std::vector<ForwardHook>& hooks() const { return hooks_; }
  void never_called() { callable_ = false; }  ///< for lists: their items are called without them. Before items are made

 private:
  struct Entry {
    std::string name;
    Tensor tensor;
    bool trained;
    Persistent persistent;
  };
  template <class Visit>
  void visit(const std::string& prefix, Visit&& see) const;

  Module* parent_;
  std::string name_, called_;
  Device device_;
  Dtype dtype_;
  Generator* rng_;
  bool blank_, training_ = true, callable_ = true;
  std::vector<Entry> entries_;
  std::vector<Module*> children_;
  std::vector<ForwardHook> hooks_;
};

/// A parameter together with its copy in another dtype: layers compute in the dtype of their input.
class Parameter {
 public:
  Parameter() = default;
  Parameter(Tensor value) : value_(std::move(value)) {}
  operator const Tensor&() const { return value_; }
  const Tensor& tensor() const { return value_; }
  bool defined() const { return value_.defined(); }
  /// The parameter in `dtype`: a recorded cast while recording; otherwise a copy kept until the parameter changes.
  Tensor as(Dtype dtype) const;

 private:
  Tensor value_;
  mutable Tensor copy_;
  mutable uint64_t version_ = 0;
};

namespace detail {
/// Rethrows the current Error with the path of the module where it was thrown in front, once.
[[noreturn]] void rethrow_with_path();
}  // namespace detail

/// Module plus operator(), which runs Self::forward with any signature inside the module's path: errors, traces and the
/// tape name it. `Base` is Module or an interface derived from it.
template <class Self, class Base = Module>
class Layer : public Base {
 public:
  explicit Layer(Scope scope) : Base(std::move(scope)) {}

  template <class... A>
  auto operator()(A&&... arguments) {
    const bool outermost = trace::module_path().empty();
    try {
      const trace::PathScope scope(this->called());
      auto out = static_cast<Self*>(this)->forward(std::forward<A>(arguments)...);
      if constexpr (std::is_same_v<decltype(out), Tensor>) {
        for (const Module::ForwardHook& hook : this->hooks())
          if (Tensor replaced = hook(*this, out); replaced.defined()) out = replaced;
      }
      return out;
    } catch (const Error&) {
      if (outermost) detail::rethrow_with_path();
      throw;
    }
  }
};

/// Children "0", "1", ... made by `make(scope, index)`, which returns a std::unique_ptr.
template <class T>
class ModuleList final : public Module {
 public:
  template <class Make>
  ModuleList(Scope scope, int64_t count, Make&& make) : Module(std::move(scope)) {
    never_called();
    for (int64_t i = 0; i < count; ++i) items_.push_back(make(sub(std::to_string(i)), i));
  }
  int64_t size() const { return int64_t(items_.size()); }
  T& operator[](int64_t i) { return *items_[size_t(i)]; }
  const T& operator[](int64_t i) const { return *items_[size_t(i)]; }
  auto begin() { return items_.begin(); }
  auto end() { return items_.end(); }

 private:
  std::vector<std::unique_ptr<T>> items_;
};

}  // namespace vitrine::nn
