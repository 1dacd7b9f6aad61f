#include "nn/rpe.h"

namespace vitrine::nn {

Rpe::Rpe(Scope scope, const ops::RpeConfig& config, char on, int64_t heads, int64_t head_dim, int64_t skip,
         const Init& init)
    : Module(std::move(scope)) {
  const int64_t buckets = ops::rpe_buckets(config, skip), tables = config.shared ? 1 : heads;
  const bool bias = config.mode == ops::RpeMode::bias;
  check<ValueError>(!bias || on != 'v', "rpe: bias mode has no term on v; use contextual (ctx), or q and k");
  const char* name = bias ? "lookup_table_bias" : "lookup_table_weight";
  const Shape shape = bias        ? Shape{tables, buckets}
                      : on == 'v' ? Shape{tables, buckets, head_dim}
                                  : Shape{tables, head_dim, buckets};
  if (config.method == ops::RpeMethod::cross) {
    rows_.emplace(sub("rp_rows"), name, shape, init);
    cols_.emplace(sub("rp_cols"), name, shape, init);
  } else {
    table_ = param(name, shape, init);
  }
}

std::vector<Tensor> Rpe::tables(Dtype dtype) const {
  if (rows_) return {rows_->table.as(dtype), cols_->table.as(dtype)};
  return {table_.as(dtype)};
}

}  // namespace vitrine::nn
