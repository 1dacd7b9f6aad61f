#include "nn/module.h"

#include <algorithm>
#include <unordered_map>

#include "core/memory_pool.h"
#include "core/trace.h"

namespace vitrine::nn {
namespace {

std::string join(const std::string& prefix, const std::string& name) {
  return prefix.empty() || name.empty() ? prefix + name : prefix + "." + name;
}

std::string listed(const char* what, const std::vector<std::string>& names) {
  constexpr size_t kMost = 8;
  if (names.empty()) return "";
  std::string text = format("; {} {}: ", names.size(), what);
  for (size_t i = 0; i < std::min(kMost, names.size()); ++i) text += (i ? ", " : "") + names[i];
  return names.size() > kMost ? text + ", ..." : text;
}

}  // namespace

void copy_by_name(const char* what, const NamedTensors& own, const NamedTensors& values) {
  std::unordered_map<std::string, const Tensor*> given;
  for (const auto& [name, t] : values) given[name] = &t;
  for (const auto& [name, t] : own) {
    const auto found = given.find(name);
    check(found != given.end(), "{}: {} is missing", what, name);
    check(found->second->shape() == t.shape(), "{}: {} is {}, got {}", what, name, t.shape(), found->second->shape());
  }
  const NoGrad no_grad;
  for (const auto& [name, t] : own) Tensor(t).copy_(*given[name]);
}

std::string LoadReport::text() const {
  return listed("missing", missing) + listed("unexpected", unexpected) + listed("of another shape", mismatched);
}

Module::Module(Scope scope)
    : parent_(scope.parent),
      name_(std::move(scope.name)),
      called_(parent_ && !parent_->callable_ ? join(parent_->called_, name_) : name_),
      device_(scope.device),
      dtype_(scope.dtype),
      rng_(scope.rng ? scope.rng : &default_generator()),
      blank_(scope.blank) {
  if (parent_) parent_->children_.push_back(this);
}

Module::~Module() {
  if (parent_) std::erase(parent_->children_, this);
}

std::string Module::path() const { return parent_ ? join(parent_->path(), name_) : ""; }

void Module::train(bool on) {
  training_ = on;
  for (Module* child : children_) child->train(on);
}

Scope Module::sub(std::string name) {
  return {.parent = this, .name = std::move(name), .device = device_, .dtype = dtype_, .rng = rng_, .blank = blank_};
}

Tensor Module::param(std::string name, const Shape& shape, const Init& init) {
  const NoGrad no_grad;
  Tensor t = blank_ ? zeros({}, {dtype_, device_}).expand(shape) : init(shape, *rng_).to(dtype_).to(device_);
  check(t.shape() == shape, "{}: its initial value has shape {}, not {}", join(path(), name), t.shape(), shape);
  t.set_requires_grad();
  entries_.push_back({std::move(name), t, true, Persistent::yes});
  return t;
}

Tensor Module::buffer(std::string name, const Tensor& value, Persistent persistent) {
  const Tensor t = (is_floating(value.dtype()) ? value.to(dtype_) : value).to(device_);
  entries_.push_back({std::move(name), t, false, persistent});
  return t;
}

template <class Visit>
void Module::visit(const std::string& prefix, Visit&& see) const {
  for (const Entry& entry : entries_) see(join(prefix, entry.name), entry);
  for (const Module* child : children_) child->visit(join(prefix, child->name_), see);
}

NamedTensors Module::parameters() const {
  NamedTensors list;
  visit("", [&](const std::string& name, const Entry& e) {
    if (e.trained) list.emplace_back(name, e.tensor);
  });
  return list;
}

int64_t Module::parameter_count() const {
  int64_t count = 0;
  for (const auto& [name, t] : parameters()) count += t.numel();
  return count;
}

NamedTensors Module::state_dict() const {
  NamedTensors list;
  visit("", [&](const std::string& name, const Entry& e) {
    if (e.persistent != Persistent::no) list.emplace_back(name, e.tensor);
  });
  return list;
}

LoadReport Module::load_state_dict(const NamedTensors& values, Strict strict) {
  std::unordered_map<std::string, const Tensor*> given;
  for (const auto& [name, t] : values) given[name] = &t;
  LoadReport report;
  std::vector<std::pair<Tensor, Tensor>> copies;
  visit("", [&](const std::string& name, const Entry& own) {
    if (own.persistent == Persistent::no) return;
    const auto found = given.find(name);
    const Tensor* value = found == given.end() ? nullptr : found->second;
    if (value) given.erase(found);
    if (own.persistent == Persistent::derived) return;
    if (!value) {
      report.missing.push_back(name);
    } else if (value->shape() == own.tensor.shape()) {
      copies.emplace_back(own.tensor, *value);
      report.loaded.push_back(name);
    } else {
      report.mismatched.push_back(format("{}: is {}, got {}", name, own.tensor.shape(), value->shape()));
    }
  });
  for (const auto& [name, t] : values)
    if (given.contains(name)) report.unexpected.push_back(name);
  check(strict == Strict::no || report.complete(), "the weights do not fit the model{}", report.text());
  const NoGrad no_grad;
  for (auto& [own, value] : copies) own.copy_(value);
  return report;
}

void Module::zero_grad() {
  for (auto& [name, t] : parameters()) t.set_grad({});
}

Tensor Parameter::as(Dtype dtype) const {
  if (!value_.defined() || value_.dtype() == dtype) return value_;
  if (recording()) return value_.to(dtype);
  const uint64_t version = value_.storage()->version();
  if (!copy_.defined() || copy_.dtype() != dtype || version_ != version) {
    const PoolScope outlives_the_call(nullptr);
    copy_ = value_.to(dtype);
    version_ = version;
  }
  return copy_;
}

namespace detail {
namespace {
template <class E>
void rethrow_if(const Error& error, const std::string& message) {
  if (dynamic_cast<const E*>(&error)) throw E(message);
}
}  // namespace

void rethrow_with_path() {
  const std::string path = trace::take_failed_path();
  if (path.empty()) throw;
  try {
    throw;
  } catch (const Error& e) {
    if (std::string(e.what()).starts_with(path + ": ")) throw;  // anomaly mode has named it
    const std::string message = path + ": " + e.what();
    rethrow_if<ShapeError>(e, message);
    rethrow_if<DtypeError>(e, message);
    rethrow_if<DeviceError>(e, message);
    rethrow_if<ValueError>(e, message);
    rethrow_if<AutogradError>(e, message);
    rethrow_if<CudaError>(e, message);
    rethrow_if<OutOfMemory>(e, message);
    rethrow_if<NotImplemented>(e, message);
    throw;
  }
}
}  // namespace detail

}  // namespace vitrine::nn
