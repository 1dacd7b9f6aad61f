#pragma once
#include <optional>

#include "nn/init.h"
#include "ops/relpos/rpe_config.h"

namespace vitrine::nn {

/// Where tokens stand: `skip` extra ones (class, distillation), then height * width cells, row by row.
struct TokenGrid {
  int64_t height = 0, width = 0, skip = 0;
  int64_t tokens() const { return skip + height * width; }
};

/// The learned tables of iRPE on one of q, k, v, by the names of the reference: `lookup_table_weight` (contextual: [Ht,
/// d, buckets] on q and k, [Ht, buckets, d] on v) or `lookup_table_bias` ([Ht, buckets]); for Cross one such table in
/// each of the children `rp_rows` and `rp_cols`. Ht is 1 if shared over heads. Zeros at first unless `init` says
/// otherwise, so a classifier starts as the plain one.
class Rpe final : public Module {
 public:
  /// @param on  'q', 'k' or 'v'
  Rpe(Scope scope, const ops::RpeConfig& config, char on, int64_t heads, int64_t head_dim, int64_t skip,
      const Init& init = init::zeros());
  /// One table, or two for Cross (rows, columns), in `dtype`.
  std::vector<Tensor> tables(Dtype dtype) const;

 private:
  struct Table final : Module {
    Parameter table;
    Table(Scope scope, const char* name, const Shape& shape, const Init& init)
        : Module(std::move(scope)), table(param(name, shape, init)) {}
  };
  Parameter table_;                   // of all methods but Cross
  std::optional<Table> rows_, cols_;  // of Cross
};

}  // namespace vitrine::nn
