#include "ops/multi_tensor/multi_tensor.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/memory_pool.h"
#include "ops/multi_tensor/multi_tensor_kernels.h"

namespace vitrine::ops {

const Tensor& MultiTensorCache::table(std::vector<int64_t> key, Device device,
                                      std::vector<int64_t> (*make)(const std::vector<int64_t>&), int64_t columns) {
  if (!table_.defined() || !(table_.device() == device) || key != key_) {
    const std::vector<int64_t> cells = make(key);
    const PoolScope outlives_the_step(nullptr);
    table_ = from_data<int64_t>(cells, {int64_t(cells.size()) / columns, columns}).to(device);
    key_ = std::move(key);
  }
  return table_;
}

namespace {

enum class Access { read, write };

/// Lists of tensors on their way into a table. What is wrong is reported with op, list and index.
class Lists {
 public:
  Lists(const char* op, std::span<const Tensor> first) : op_(op), first_(first) {}

  /// Adds a list as the next column. Its dtype must be `dtype`; entries may be undefined if `optional`.
  void add(const char* name, std::span<const Tensor> list, Access access, Dtype dtype, bool optional = false) {
    check<ValueError>(list.size() == first_.size(), "{}: {} has {} tensors, not {}", op_, name, list.size(),
                      first_.size());
    for (size_t i = 0; i < list.size(); ++i) {
      const Tensor &x = list[i], &like = first_[i];
      if (!x.defined() && optional) continue;
      check<ValueError>(x.defined(), "{}: {}[{}] is undefined", op_, name, i);
      check<DtypeError>(x.dtype() == dtype, "{}: {}[{}] {} must be {}", op_, name, i, x, dtype);
      check<DeviceError>(x.device() == device(), "{}: {}[{}] {} is not on {}", op_, name, i, x, device());
      check(x.shape() == like.shape(), "{}: {}[{}] {} does not have the shape of {}", op_, name, i, x, like);
      if (access == Access::read) continue;
      check(x.is_contiguous(), "{}: {}[{}] {} is not contiguous", op_, name, i, x);
      check<AutogradError>(!recording() || !x.requires_grad(),
                           "{}: {}[{}] {} needs a gradient; change it under NoGrad or work on a copy", op_, name, i, x);
    }
    columns_.push_back({list, access});
  }

  /// The device of the lists. @throws ValueError if there is nothing
  Device device() const {
    for (const Tensor& x : first_)
      if (x.defined()) return x.device();
    throw ValueError(format("{}: no tensors", op_));
  }

  /// The table of all entries that have every list in `needed` columns, in the order of the lists. Opens what is
  /// written for writing.
  const Tensor& table(size_t needed, std::span<const int64_t> groups, MultiTensorCache& cache) {
    std::vector<int64_t> key{int64_t(columns_.size())};
    for (size_t i = 0; i < first_.size(); ++i) {
      if (std::any_of(columns_.begin(), columns_.begin() + long(needed),
                      [&](const Column& c) { return !c.list[i].defined(); }))
        continue;
      key.push_back(first_[i].numel());
      key.push_back(groups.empty() ? 0 : groups[i]);
      key.push_back(size_of(first_[i].dtype()));
      for (const Column& c : columns_) {
        key.push_back(address(c, i));
        key.push_back(c.list[i].defined() ? size_of(c.list[i].dtype()) : 0);
      }
    }
    return cache.table(std::move(key), device(), make_table, 2 + int64_t(columns_.size()));
  }

 private:
  struct Column {
    std::span<const Tensor> list;
    Access access;
  };

  int64_t address(const Column& column, size_t i) {
    Tensor x = column.list[i];
    if (!x.defined() || x.numel() == 0) return 0;
    if (column.access == Access::write) return reinterpret_cast<int64_t>(x.raw_mutable_data());
    x = x.detach().contiguous();
    held_.push_back(x);
    return reinterpret_cast<int64_t>(x.raw_data());
  }

  /// Key: number of columns; then per entry: elements, group, element size, and address and element size per column.
  static std::vector<int64_t> make_table(const std::vector<int64_t>& key) {
    const size_t columns = size_t(key[0]), entry = 3 + 2 * columns;
    std::vector<int64_t> cells;
    for (size_t at = 1; at < key.size(); at += entry)
      for (int64_t begin = 0; begin < key[at]; begin += kChunk) {
        cells.push_back(std::min(kChunk, key[at] - begin));
        cells.push_back(key[at + 1]);
        for (size_t c = 0; c < columns; ++c) {
          const int64_t base = key[at + 3 + 2 * c];
          cells.push_back(base ? base + begin * key[at + 4 + 2 * c] : 0);
        }
      }
    return cells;
  }

  const char* op_;
  std::span<const Tensor> first_;
  std::vector<Column> columns_;
  std::vector<Tensor> held_;  // contiguous copies, alive until the launch
};

Dtype state_dtype(Dtype dtype) { return dtype == Dtype::f64 ? Dtype::f64 : Dtype::f32; }

/// The floating dtype of the first defined tensor of a list.
Dtype dtype_of_list(const char* op, const char* name, std::span<const Tensor> list) {
  for (const Tensor& x : list)
    if (x.defined()) {
      check_floating(op, name, x);
      return x.dtype();
    }
  throw ValueError(format("{}: no tensors", op));
}

void check_schedule(const char* op, const Tensor& schedule, std::span<const int64_t> groups, size_t tensors,
                    Device device) {
  check_defined(op, "schedule", schedule);
  check<DtypeError>(schedule.dtype() == Dtype::f64, "{}: schedule {} must be f64", op, schedule);
  check<DeviceError>(schedule.device() == device, "{}: schedule {} is not on {}", op, schedule, device);
  check(schedule.dim() == 2 && schedule.size(0) >= 1 && schedule.size(1) == 2, "{}: schedule {} must be [groups, 2]",
        op, schedule);
  check<ValueError>(groups.empty() || groups.size() == tensors, "{}: {} groups for {} tensors", op, groups.size(),
                    tensors);
  for (int64_t g : groups)
    check<ValueError>(g >= 0 && g < schedule.size(0), "{}: group {} is not a row of schedule {}", op, g, schedule);
}

void check_factor(const char* op, const Tensor& factor, Dtype dtype, Device device) {
  if (!factor.defined()) return;
  check(factor.numel() == 1 && factor.dtype() == state_dtype(dtype) && factor.device() == device,
        "{}: gradient_factor {} must be a scalar {} {}", op, factor, state_dtype(dtype), device);
}

void check_condition(const char* op, const Tensor& condition, Device device) {
  if (!condition.defined()) return;
  check(condition.numel() == 1 && condition.dtype() == Dtype::boolean && condition.device() == device,
        "{}: condition {} must be a scalar bool {}", op, condition, device);
}

}  // namespace

void adamw_(const AdamWLists& lists, const Tensor& schedule, Tensor& step, const AdamWOptions& options) {
  constexpr const char* op = "adamw_";
  const trace::OpScope scope(op);
  const Dtype dtype = dtype_of_list(op, "params", lists.params), state = state_dtype(dtype);
  const std::vector<Tensor> no_copies(lists.copies.empty() ? lists.params.size() : 0);
  Lists columns(op, lists.params);
  columns.add("params", lists.params, Access::write, dtype);
  columns.add("grads", lists.grads, Access::read, dtype, true);
  columns.add("exp_avg", lists.exp_avg, Access::write, state);
  columns.add("exp_avg_sq", lists.exp_avg_sq, Access::write, state);
  columns.add("copies", lists.copies.empty() ? no_copies : lists.copies, Access::write, Dtype::bf16, true);
  const Device device = columns.device();
  check_schedule(op, schedule, lists.groups, lists.params.size(), device);
  check_defined(op, "step", step);
  check(step.numel() == 1 && step.dtype() == Dtype::f64 && step.device() == device,
        "{}: step {} must be a scalar f64 {}", op, step, device);
  check_factor(op, options.gradient_factor, dtype, device);
  check_condition(op, options.condition, device);

  const NoGrad no_grad;
  Tensor scalars = empty({schedule.size(0), 3}, schedule.options());
  adamw_scalars(schedule.contiguous(), step, options.condition, options.beta1, options.beta2, scalars);
  MultiTensorCache once;
  const Tensor& table = columns.table(4, lists.groups, options.cache ? *options.cache : once);
  adamw_step(table, {dtype, scalars, options.gradient_factor, options.condition}, options.beta1, options.beta2,
             options.eps);
}

void sgd_(const SgdLists& lists, const Tensor& schedule, const SgdOptions& options) {
  constexpr const char* op = "sgd_";
  const trace::OpScope scope(op);
  const Dtype dtype = dtype_of_list(op, "params", lists.params);
  check<ValueError>(options.momentum == 0 || !lists.momenta.empty(), "{}: momentum {} needs momenta", op,
                    options.momentum);
  check<ValueError>(!options.nesterov || options.momentum > 0, "{}: nesterov needs a momentum", op);
  const std::vector<Tensor> no_momenta(lists.momenta.empty() ? lists.params.size() : 0);
  Lists columns(op, lists.params);
  columns.add("params", lists.params, Access::write, dtype);
  columns.add("grads", lists.grads, Access::read, dtype, true);
  columns.add("momenta", lists.momenta.empty() ? no_momenta : lists.momenta, Access::write, state_dtype(dtype),
              lists.momenta.empty());
  check_schedule(op, schedule, lists.groups, lists.params.size(), columns.device());
  check_factor(op, options.gradient_factor, dtype, columns.device());
  check_condition(op, options.condition, columns.device());

  const NoGrad no_grad;
  MultiTensorCache once;
  const Tensor& table = columns.table(2, lists.groups, options.cache ? *options.cache : once);
  sgd_step(table, {dtype, schedule.contiguous(), options.gradient_factor, options.condition}, options.momentum,
           options.nesterov);
}

Tensor global_norm(std::span<const Tensor> tensors, MultiTensorCache* cache) {
  constexpr const char* op = "global_norm";
  const trace::OpScope scope(op);
  const Dtype dtype = dtype_of_list(op, "tensors", tensors);
  Lists columns(op, tensors);
  columns.add("tensors", tensors, Access::read, dtype, true);
  const NoGrad no_grad;
  MultiTensorCache once;
  const Tensor& table = columns.table(1, {}, cache ? *cache : once);
  const TensorOptions sums{.dtype = state_dtype(dtype), .device = columns.device()};
  Tensor partials = empty({table.size(0)}, sums), norm = empty({}, sums);
  square_sums(table, dtype, partials);
  norm_of_sums(partials, norm);
  return norm;
}

Tensor clip_factor(const Tensor& norm, double max_norm) {
  check_defined("clip_factor", "norm", norm);
  check<DtypeError>(norm.dtype() == Dtype::f32 || norm.dtype() == Dtype::f64, "clip_factor: norm {} must be f32 or f64",
                    norm);
  check(norm.numel() == 1, "clip_factor: norm {} must be a scalar", norm);
  check<ValueError>(max_norm >= 0, "clip_factor: max_norm must not be negative, got {}", max_norm);
  const trace::OpScope scope("clip_factor");
  Tensor factor = empty({}, norm.options());
  norm_factor(norm, max_norm, factor);
  return factor;
}

Tensor both_finite(const Tensor& a, const Tensor& b) {
  constexpr const char* op = "both_finite";
  const trace::OpScope scope(op);
  check_defined(op, "a", a);
  check_defined(op, "b", b);
  check_same_dtype(op, {{"a", &a}, {"b", &b}});
  check_same_device(op, {{"a", &a}, {"b", &b}});
  check<DtypeError>(a.dtype() == Dtype::f32 || a.dtype() == Dtype::f64, "{}: a {} must be f32 or f64", op, a);
  check(a.numel() == 1 && b.numel() == 1, "{}: a {} and b {} must be scalars", op, a, b);
  Tensor result = empty({}, {.dtype = Dtype::boolean, .device = a.device()});
  finite_pair(a, b, result);
  return result;
}

Tensor clip_by_norm_(std::span<const Tensor> tensors, double max_norm, MultiTensorCache* cache) {
  constexpr const char* op = "clip_by_norm_";
  const Dtype dtype = dtype_of_list(op, "tensors", tensors);
  Lists columns(op, tensors);
  columns.add("tensors", tensors, Access::write, dtype, true);
  MultiTensorCache once;
  MultiTensorCache& shared = cache ? *cache : once;
  const Tensor norm = global_norm(tensors, &shared);
  const trace::OpScope scope(op);
  const NoGrad no_grad;
  scale_list(columns.table(1, {}, shared), dtype, clip_factor(norm, max_norm));
  return norm;
}

void ema_update_(std::span<const Tensor> averages, std::span<const Tensor> values, double decay,
                 MultiTensorCache* cache, const Tensor& condition) {
  constexpr const char* op = "ema_update_";
  const trace::OpScope scope(op);
  check<ValueError>(decay >= 0 && decay <= 1, "{}: decay must be in [0, 1], got {}", op, decay);
  const Dtype dtype = dtype_of_list(op, "averages", averages);
  Lists columns(op, averages);
  columns.add("averages", averages, Access::write, dtype);
  columns.add("values", values, Access::read, dtype);
  check_condition(op, condition, columns.device());
  const NoGrad no_grad;
  MultiTensorCache once;
  ema_step(columns.table(2, {}, cache ? *cache : once), dtype, decay, condition);
}

}  // namespace vitrine::ops
