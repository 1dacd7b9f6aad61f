#include "nn/rivals.h"

#include <algorithm>
#include <cmath>

#include "ops/binary/operators.h"
#include "ops/gather/gather.h"
#include "ops/linear/linear.h"
#include "ops/pad/pad.h"

namespace vitrine::nn {
namespace {

constexpr const char* kNames[] = {"none", "transformer-xl", "huang", "sasa", "axial"};
constexpr const char *kShaw = "rpe-1.9-product-ctx-1-k-clip", *kExample = "rpe-1.9-product-ctx-1-k";

/// The ids that all but SASA use: Shaw's, on the given ones of q, k, v.
ops::RpeConfig clipped_product(bool on_q, bool on_k, bool on_v) {
  ops::RpeConfig config = *ops::parse_rpe(kShaw);
  config.on_q = on_q, config.on_k = on_k, config.on_v = on_v;
  return config;
}

/// The op reads the table of q by I(j, i), these methods by I(i, j). The offset of the one is minus that of the other,
/// and I(j, i) = (2b + 1)^2 - 1 - I(i, j): index_select by these ids gives the table with its buckets in reverse order,
/// the extra one staying in place.
Tensor mirror_ids(int64_t buckets, bool extra) {
  const int64_t pairs = buckets - extra;
  std::vector<double> ids;
  for (int64_t t = 0; t < pairs; ++t) ids.push_back(double(pairs - 1 - t));
  if (extra) ids.push_back(double(pairs));
  return from_vector(ids, {buckets}, {.dtype = Dtype::i32});
}

/// One table p for both sides. Parameter: `lookup_table_weight` [1, d, buckets], normal of std 0.02, as embeddings are
/// drawn in the program (BERT) that the method was made for.
class Huang final : public RivalRpe {
 public:
  Huang(Scope scope, int64_t head_dim, int64_t skip)
      : RivalRpe(std::move(scope), clipped_product(true, true, false)),
        table_(param("lookup_table_weight", {1, head_dim, ops::rpe_buckets(config, skip)}, init::truncated_normal())),
        mirror_(buffer("mirror", mirror_ids(ops::rpe_buckets(config, skip), skip > 0), Persistent::no)) {}
  ops::RpeTables tables(Dtype dtype) const override {
    const Tensor table = table_.as(dtype);
    return {.q = {ops::index_select(table, 2, mirror_)}, .k = {table}};
  }

 private:
  Parameter table_;
  Tensor mirror_;
};

/// Position-sensitive attention, on the whole image in place of one axis of it. The original normalises each term of
/// the logits and of the output by its batch statistics; here the terms carry the factor s, as everywhere else in the
/// comparison. Parameters: `lookup_table_q` and `lookup_table_k` [1, d, buckets], `lookup_table_v` [1, buckets, d],
/// normal of std 1 / sqrt(d), as in the original.
class Axial final : public RivalRpe {
 public:
  Axial(Scope scope, int64_t head_dim, int64_t skip)
      : RivalRpe(std::move(scope), clipped_product(true, true, true)),
        mirror_(buffer("mirror", mirror_ids(ops::rpe_buckets(config, skip), skip > 0), Persistent::no)) {
    const int64_t buckets = ops::rpe_buckets(config, skip);
    const Init init = init::normal(1 / std::sqrt(double(head_dim)));
    q_ = param("lookup_table_q", {1, head_dim, buckets}, init);
    k_ = param("lookup_table_k", {1, head_dim, buckets}, init);
    v_ = param("lookup_table_v", {1, buckets, head_dim}, init);
  }
  ops::RpeTables tables(Dtype dtype) const override {
    return {.q = {ops::index_select(q_.as(dtype), 2, mirror_)}, .k = {k_.as(dtype)}, .v = {v_.as(dtype)}};
  }

 private:
  Parameter q_, k_, v_;
  Tensor mirror_;
};

/// Stand-alone self-attention's encoding, with the whole image as neighbourhood: half of the channels know the row
/// offset, half the column offset. The two halves are the parameters `lookup_table_rows` and `lookup_table_cols` [1, d
/// / 2, buckets], of normal distribution with std 0.02 (DeiT's embeddings; the paper gives none); as tables of Cross
/// they have zeros in the other half. A bucket per offset of the longer side, so the size of the image is in the shape.
class Sasa final : public RivalRpe {
 public:
  Sasa(Scope scope, int64_t head_dim, const TokenGrid& grid)
      : RivalRpe(std::move(scope), unclipped(std::max(grid.height, grid.width))), half_(head_dim / 2) {
    check<ValueError>(head_dim % 2 == 0,
                      "rpe 'sasa' halves the channels of a head, and {} is odd: choose an even dim / heads", head_dim);
    const Shape shape{1, half_, ops::rpe_buckets(config, grid.skip)};
    rows_ = param("lookup_table_rows", shape, init::truncated_normal());
    cols_ = param("lookup_table_cols", shape, init::truncated_normal());
  }
  ops::RpeTables tables(Dtype dtype) const override {
    return {.k = {ops::pad(rows_.as(dtype), {{0, 0}, {0, half_}, {0, 0}}),
                  ops::pad(cols_.as(dtype), {{0, 0}, {half_, 0}, {0, 0}})}};
  }

 private:
  /// The bound int(2 ratio) of the clip is the largest offset.
  static ops::RpeConfig unclipped(int64_t side) {
    return {.ratio = double(std::max<int64_t>(1, side - 1)) / 2, .method = ops::RpeMethod::cross, .clip = true};
  }
  int64_t half_;
  Parameter rows_, cols_;
};

/// A vector [C] for each pair of clipped offsets, bucket by bucket: the first half encodes the row offset, the second
/// that of columns, each as (sin(x w_0), sin(x w_1), ..., cos(x w_0), ...), w_k = 10000^(-2k / (C / 2)), as the
/// original does with the distance in a sequence. An extra token has no offset: zeros.
Tensor offset_sinusoids(int64_t bound, bool extra, int64_t dim) {
  const int64_t side = 2 * bound + 1, quarter = dim / 4, buckets = side * side + extra;
  std::vector<double> values(size_t(buckets * dim), 0.0);
  for (int64_t t = 0; t < side * side; ++t)
    for (int64_t k = 0; k < quarter; ++k) {
      const double omega = std::pow(10000.0, -double(k) / double(quarter));
      double* at = values.data() + t * dim + k;
      for (const int64_t offset : {t / side - bound, t % side - bound}) {
        at[0] = std::sin(double(offset) * omega), at[quarter] = std::cos(double(offset) * omega);
        at += 2 * quarter;
      }
    }
  return from_vector(values, {buckets, dim}, {.dtype = Dtype::f64});
}

/// R is a linear map of fixed sinusoids, split into heads. With q + v for the query, the content term has v.k_j where u
/// .k_j belongs; u - v in every bucket of the table of q makes up for it. Parameters by the names of the original:
/// `r_net.weight` [C, C], `r_w_bias` (u) and `r_r_bias` (v) [H, d], all normal of std 0.02. The original does not
/// say what an image or an extra token is; see offset_sinusoids.
class TransformerXl final : public RivalRpe {
 public:
  TransformerXl(Scope scope, int64_t dim, int64_t heads, int64_t skip)
      : RivalRpe(std::move(scope), unshared()), heads_(heads), r_net_(sub("r_net"), dim) {
    check<ValueError>(dim % 4 == 0, "rpe 'transformer-xl' needs a dim that 4 divides, got {}", dim);
    u_ = param("r_w_bias", {heads, dim / heads}, init::truncated_normal());
    v_ = param("r_r_bias", {heads, dim / heads}, init::truncated_normal());
    const int64_t bound = ops::IrpeFunction::of_ratio(config.ratio).bound();
    sinusoids_ = buffer("sinusoids", offset_sinusoids(bound, skip > 0, dim), Persistent::no);
  }
  ops::RpeTables tables(Dtype dtype) const override {
    const int64_t buckets = sinusoids_.size(0), d = sinusoids_.size(1) / heads_;
    const Tensor r = ops::linear(sinusoids_.to(dtype), r_net_.weight.as(dtype)).view({buckets, heads_, d});
    return {.q = {(u_.as(dtype) - v_.as(dtype)).unsqueeze(2).expand({heads_, d, buckets})},
            .k = {r.permute({1, 2, 0})}};
  }
  Tensor query(const Tensor& q) const override { return q + v_.as(q.dtype()).unsqueeze(1); }

 private:
  struct Map final : Module {
    Parameter weight;
    Map(Scope scope, int64_t dim)
        : Module(std::move(scope)), weight(param("weight", {dim, dim}, init::truncated_normal())) {}
  };
  static ops::RpeConfig unshared() {
    ops::RpeConfig config = clipped_product(true, true, false);
    config.shared = false;
    return config;
  }
  int64_t heads_;
  Map r_net_;
  Parameter u_, v_;
  Tensor sinusoids_;
};

}  // namespace

std::string to_string(Rival rival) { return kNames[int(rival)]; }

RpeChoice parse_rpe_choice(const std::string& text) {
  if (text == "shaw") return {.rpe = ops::parse_rpe(kShaw)};
  const auto* name = std::find(std::begin(kNames), std::end(kNames), text);
  if (name != std::end(kNames)) return {.rival = Rival(name - kNames)};
  check<ValueError>(text.empty() || text.starts_with("rpe"),
                    "rpe '{}': must be none, shaw, transformer-xl, huang, sasa, axial, or as {}", text, kExample);
  return {.rpe = ops::parse_rpe(text)};
}

std::optional<ops::RpeConfig> parse_rpe_but_rivals(const std::string& model, const std::string& text) {
  const RpeChoice choice = parse_rpe_choice(text);
  check<ValueError>(choice.rival == Rival::none, "{} does not take rpe '{}'; give shaw, none, or as {}", model, text,
                    kExample);
  return choice.rpe;
}

std::string to_string(const RpeChoice& choice) {
  return choice.rpe && choice.rival == Rival::none ? to_string(*choice.rpe) : to_string(choice.rival);
}

std::unique_ptr<RivalRpe> make_rival(Scope scope, Rival rival, int64_t dim, int64_t heads, const TokenGrid& grid) {
  const int64_t d = dim / heads;
  switch (rival) {
    case Rival::transformer_xl:
      return std::make_unique<TransformerXl>(std::move(scope), dim, heads, grid.skip);
    case Rival::huang:
      return std::make_unique<Huang>(std::move(scope), d, grid.skip);
    case Rival::sasa:
      return std::make_unique<Sasa>(std::move(scope), d, grid);
    case Rival::axial:
      return std::make_unique<Axial>(std::move(scope), d, grid.skip);
    case Rival::none:
      break;
  }
  throw ValueError("rpe: no rival to make");
}

}  // namespace vitrine::nn
