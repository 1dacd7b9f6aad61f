#include "ops/rpe_attention/rpe_attention.h"

#include <cmath>

#include "core/autograd.h"
#include "core/kernels/kernels.h"
#include "ops/attention/attention.h"
#include "ops/attention/attention_gradients.h"
#include "ops/binary/operators.h"
#include "ops/bucket_gather/bucket_gather.h"
#include "ops/compare/compare.h"
#include "ops/concat/concat.h"
#include "ops/dropout/dropout.h"
#include "ops/gather/gather.h"
#include "ops/matmul/matmul.h"
#include "ops/reduce/reduce.h"
#include "ops/relpos/used_buckets.h"
#include "ops/rpe_attention/rpe_attention_kernels.h"
#include "ops/softmax/softmax.h"
#include "ops/where/where.h"

namespace vitrine::ops {
namespace {

Dtype accumulate_dtype(Dtype d) { return d == Dtype::f64 ? Dtype::f64 : Dtype::f32; }

/// The inputs of the op after q, k, v, mask: two places for the tables of each of q, k, v, in this order.
constexpr size_t kMask = 3, kTables = 4, kInputs = 10;

/// The tables of one of q, k, v as the kernels take them: [Ht, K, D] of the K buckets in use; those of q and k are
/// given as [Ht, D, all].
Tensor joined(const Tensor* table, bool transposed, const RpeUsedIndices& used) {
  if (!table[0].defined()) return {};
  const auto ready = [&](const Tensor& t) { return transposed ? t.transpose(1, 2) : t; };
  const Tensor all = table[1].defined() ? concat({ready(table[0]), ready(table[1])}, 1) : ready(table[0]);
  return (used.ids.defined() ? index_select(all, 1, used.ids) : all).contiguous();
}

struct RpeAttention {
  static constexpr const char* name = "rpe_attention";
  RpeConfig rpe;
  int64_t height, width, skip;
  double scale, dropout;
  RandomDraw draw;
  Attributes attributes() const {
    return {{"rpe", to_string(rpe)},
            {"grid", std::vector<int64_t>{height, width}},
            {"skip", skip},
            {"scale", scale},
            {"dropout", dropout}};
  }
  bool bias() const { return rpe.mode == RpeMode::bias; }
  const RpeUsedIndices& used(const Tensor& q) const { return rpe_used_indices(rpe, height, width, skip, q.device()); }

  RpeAttentionInputs inputs(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, const Tensor& wq,
                            const Tensor& wk, const Tensor& wv) const {
    const Tensor seen = mask.defined() ? mask.expand({q.size(0), q.size(1), q.size(2), q.size(2)}) : mask;
    return {.attention = {q, k, v, {}, seen, scale, DropMask(dropout, draw)},
            .indices = used(q).indices,
            .bias = bias(),
            .q = wq,
            .k = wk,
            .v = wv};
  }

  Tensor forward(Saver& save, std::span<const Tensor> in) const {
    const Tensor &q = in[0], &k = in[1], &v = in[2], &mask = in[kMask];
    const Tensor wq = joined(&in[kTables], !bias(), used(q)), wk = joined(&in[kTables + 2], !bias(), used(q)),
                 wv = joined(&in[kTables + 4], false, used(q));
    Tensor out = empty_tokens_first(q);
    Tensor lse = empty({q.size(0), q.size(1), q.size(2)}, {accumulate_dtype(q.dtype()), q.device()});
    if (out.numel()) rpe_attention_forward(inputs(q, k, v, mask, wq, wk, wv), out, lse);
    save(q, k, v, mask, wq, wk, wv, out, lse);
    return out;
  }

  // As attention, with the encoding's parts: R_it = sum of ds_ij, A_it of z_ij p_ij over the j with id(i, j) = t,
  // C_jt = sum of ds_ij over the i with id(j, i) = t, and dout_i.Wv[id(i, j), :] part of the gradient of a weight.
  // dq_i += scale sum_t R_it Wk[:, t],   dWk[:, t] = scale sum_i R_it q_i,   dbk[t] = sum_i R_it
  // dk_j += scale sum_t C_jt Wq[:, t],   dWq[:, t] = scale sum_j C_jt k_j,   dbq[t] = sum_j C_jt
  // dWv[t, :] = sum_i A_it dout_i
  Gradients vjp(const Saved& saved, const Tensor& dout) const {
    const Tensor &q = saved[0], &out = saved[7], &lse = saved[8];
    AttentionGradients d;
    allocate_gradients(q, saved[1], saved[2], {saved.needs(0), saved.needs(1), saved.needs(2)}, d);
    RpeTableGradients tables;
    Tensor* const of[] = {&tables.q, &tables.k, &tables.v};
    for (size_t side = 0; side < 3; ++side) {
      const Tensor& table = saved[4 + side];
      if (!table.defined() || !(saved.needs(kTables + 2 * side) || saved.needs(kTables + 2 * side + 1))) continue;
      Shape shape{q.size(0), q.size(1), table.size(1)};
      if (!bias()) shape.push_back(q.size(3));
      *of[side] = empty(shape, lse.options());
    }
    if (out.numel()) {
      d.delta = empty_like(lse);
      rpe_attention_backward(inputs(q, saved[1], saved[2], saved[3], saved[4], saved[5], saved[6]), out, lse, dout, d,
                             tables);
    }
    Gradients result{d.dq, d.dk, d.dv, {}};
    for (size_t side = 0; side < 3; ++side) add_table_gradients(*of[side], side == 2, q, result);
    return result;
  }

  /// From the gradients of each (b, h) those of one or two tables as they were given.
  void add_table_gradients(const Tensor& each, bool value, const Tensor& q, Gradients& to) const {
    to.resize(to.size() + 2);
    if (!each.defined()) return;
    Tensor all = rpe.shared ? sum(each, {0, 1}).unsqueeze(0) : sum(each, {0});  // [Ht, K, ...]
    if (const Tensor& places = used(q).places; places.defined()) {
      // Buckets that are not used take the zeros behind those that are.
      Shape one = all.shape();
      one[1] = 1;
      all = index_select(concat({all, zeros(one, all.options())}, 1), 1, places);
    }
    const int64_t buckets = rpe_buckets(rpe, skip);
    for (int64_t t = 0; t < rpe.tables(); ++t) {
      const Tensor part = all.narrow(1, t * buckets, buckets);
      to[to.size() - 2 + size_t(t)] = (bias() || value ? part : part.transpose(1, 2)).to(q.dtype()).contiguous();
    }
  }
};

/// Throws unless the tables of one of q, k, v fit the config.
void check_tables(const char* op, const char* side, bool on, const std::vector<Tensor>& tables, const Tensor& q,
                  const RpeAttentionOptions& o) {
  const RpeConfig& rpe = o.rpe;
  const size_t expected = on ? size_t(rpe.tables()) : 0;
  const char* const which = !on ? "" : expected == 1 ? ", one of all offsets" : ", of rows and of columns";
  check<ValueError>(tables.size() == expected, "{}: {} has {} tables for {}, expected {}{}", op, to_string(rpe),
                    tables.size(), side, expected, which);
  const int64_t heads = rpe.shared ? 1 : q.size(1), buckets = rpe_buckets(rpe, o.skip);
  const Shape shape = rpe.mode == RpeMode::bias ? Shape{heads, buckets}
                      : *side == 'v'            ? Shape{heads, buckets, q.size(3)}
                                                : Shape{heads, q.size(3), buckets};
  for (const Tensor& table : tables) {
    const std::string name = format("the table of {}", side);
    check_defined(op, name.c_str(), table);
    check_same_dtype(op, {{"q", &q}, {name.c_str(), &table}});
    check_same_device(op, {{"q", &q}, {name.c_str(), &table}});
    check(table.shape() == shape, "{}: {} needs tables of {} of shape {}, got {}", op, to_string(rpe), side, shape,
          table);
  }
}

/// Throws unless the arguments fit; returns the factor of the logits.
double check_rpe_attention(const char* op, const Tensor& q, const Tensor& k, const Tensor& v,
                           const RpeAttentionOptions& o) {
  check_floating(op, "q", q);
  check_defined(op, "k", k);
  check_defined(op, "v", v);
  check_same_dtype(op, {{"q", &q}, {"k", &k}, {"v", &v}});
  check_same_device(op, {{"q", &q}, {"k", &k}, {"v", &v}, {"mask", &o.mask}});
  check(q.dim() == 4 && k.shape() == q.shape() && v.shape() == q.shape(),
        "{}: q {}, k {} and v {} must have one shape [B, H, N, D]", op, q, k, v);
  check(q.size(3) > 0, "{}: q {} has head size 0", op, q);
  check(q.size(2) == o.skip + o.height * o.width, "{}: q {} has {} tokens, but {} extra and a {} x {} grid are {}", op,
        q, q.size(2), o.skip, o.height, o.width, o.skip + o.height * o.width);
  check<ValueError>(o.rpe.mode == RpeMode::contextual || !o.rpe.on_v,
                    "{}: {}: there is no bias on v; write ctx, or leave out v", op, to_string(o.rpe));
  check_tables(op, "q", o.rpe.on_q, o.tables.q, q, o);
  check_tables(op, "k", o.rpe.on_k, o.tables.k, q, o);
  check_tables(op, "v", o.rpe.on_v, o.tables.v, q, o);
  if (o.mask.defined()) {
    check<DtypeError>(o.mask.dtype() == Dtype::boolean, "{}: mask must be bool, got {}", op, o.mask);
    const Shape scores{q.size(0), q.size(1), q.size(2), q.size(2)};
    bool fits = o.mask.dim() <= 4;
    for (int64_t d = 1; fits && d <= o.mask.dim(); ++d)
      fits = o.mask.size(-d) == 1 || o.mask.size(-d) == scores[size_t(4 - d)];
    check(fits, "{}: mask {} does not broadcast to the scores {} of q {}", op, o.mask, scores, q);
  }
  check<ValueError>(o.dropout >= 0 && o.dropout < 1, "{}: dropout must be in [0, 1), got {}", op, o.dropout);
  return o.scale.value_or(1 / std::sqrt(double(q.size(3))));
}

/// x + y, where either may be undefined.
Tensor plus(const Tensor& x, const Tensor& y) { return !x.defined() ? y : !y.defined() ? x : x + y; }

}  // namespace

Tensor rpe_attention(const Tensor& q, const Tensor& k, const Tensor& v, const RpeAttentionOptions& options) {
  if (!options.rpe.any())
    return attention(q, k, v,
                     {.mask = options.mask, .scale = options.scale, .dropout = options.dropout, .draw = options.draw});
  const double scale = check_rpe_attention("rpe_attention", q, k, v, options);
  std::array<Tensor, kInputs> in{q, k, v, options.mask};
  size_t at = kTables;
  for (const auto* tables : {&options.tables.q, &options.tables.k, &options.tables.v}) {
    std::copy(tables->begin(), tables->end(), in.begin() + int64_t(at));
    at += 2;
  }
  return apply(RpeAttention{.rpe = options.rpe,
                            .height = options.height,
                            .width = options.width,
                            .skip = options.skip,
                            .scale = scale,
                            .dropout = options.dropout,
                            .draw = options.draw},
               std::span<const Tensor>(in));
}

RpeAttentionTerms rpe_attention_unfused(const Tensor& q, const Tensor& k, const Tensor& v,
                                        const RpeAttentionOptions& o) {
  const RpeConfig& rpe = o.rpe;
  double scale = o.scale.value_or(1 / std::sqrt(double(q.size(3))));
  if (rpe.any()) scale = check_rpe_attention("rpe_attention_unfused", q, k, v, o);
  RpeAttentionTerms terms;
  terms.content = matmul(q, k.transpose(-2, -1)) * scale;
  std::vector<RelposIndex> indices;
  if (rpe.any()) indices = rpe_indices(rpe, o.height, o.width, o.skip, q.device());
  for (size_t t = 0; t < indices.size(); ++t) {
    const RelposIndex& index = indices[t];
    const auto term = [&](const Tensor& x, const Tensor& table) {
      return rpe.mode == RpeMode::bias ? table_gather(table, index) : bucket_gather(matmul(x * scale, table), index);
    };
    if (rpe.on_k) terms.rpe = plus(terms.rpe, term(q, o.tables.k[t]));
    if (rpe.on_q) terms.rpe = plus(terms.rpe, term(k, o.tables.q[t]).transpose(-2, -1));
  }
  Tensor scores = plus(terms.content, terms.rpe);
  const Tensor unseen = full({}, -INFINITY, q.options()), zero = zeros({}, q.options());
  if (o.mask.defined()) scores = where(o.mask, scores, unseen);
  // The softmax of a row that sees no key is NaN; the weights 0 take its place, and no gradient passes to it.
  const Tensor seen = ne(scores, unseen);
  terms.probabilities = where(seen, softmax(where(seen, scores, unseen), -1), zero);
  const Tensor weights = o.dropout > 0 ? dropout(terms.probabilities, o.dropout, o.draw) : terms.probabilities;
  terms.out = matmul(weights, v);
  for (size_t t = 0; rpe.on_v && t < indices.size(); ++t)
    terms.out = terms.out + matmul(bucket_sum(weights, indices[t]), o.tables.v[t]);
  return terms;
}

}  // namespace vitrine::ops
