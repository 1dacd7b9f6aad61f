#pragma once
#include <memory>
#include <optional>
#include <string>

#include "nn/rpe.h"
#include "ops/rpe_attention/rpe_attention.h"

/// The relative position encodings that iRPE was compared with (Wu et al., 2021, Tab. 5 and supplement 4): those of
/// sequences brought to images by the ids of Product with the clip function at 3, shared over heads. Each runs on the
/// fused ops::rpe_attention, as a setting of it. With s = 1 / sqrt(d) and I = I(i, j) the bucket of query i and key j:
///
///     shaw            s q_i.(k_j + p_I)                              Shaw et al., 2018 (keys only, as compared)
///     transformer_xl  s (q_i + u).k_j + s (q_i + v).R_I              Dai et al., 2019
///     huang           s (q_i.k_j + q_i.p_I + k_j.p_I)                Huang et al., 2020, method 4
///     sasa            s q_i.(k_j + concat(p_row(dr), p_column(dc)))  Ramachandran et al., 2019, of all offsets
///     axial           s (q_i.k_j + q_i.pk_I + k_j.pq_I), values v_j + pv_I    Wang et al., 2020 (Axial-DeepLab)
namespace vitrine::nn {

/// Shaw's is none of these: it is the iRPE string rpe-1.9-product-ctx-1-k-clip.
enum class Rival { none, transformer_xl, huang, sasa, axial };
/// "transformer-xl", "huang", "sasa", "axial", "none".
std::string to_string(Rival rival);

/// What a string says about relative positions: iRPE, a rival, or neither.
struct RpeChoice {
  std::optional<ops::RpeConfig> rpe = {};
  Rival rival = Rival::none;
};
/// Reads iRPE's strings (ops::parse_rpe), "shaw" and the rivals' names. @throws ValueError naming them
RpeChoice parse_rpe_choice(const std::string& text);
/// The same for a model that takes no rivals; `model` is its name. @throws ValueError for a rival too, naming both
std::optional<ops::RpeConfig> parse_rpe_but_rivals(const std::string& model, const std::string& text);
/// The string again: "none" for neither.
std::string to_string(const RpeChoice& choice);

/// The parameters of a rival, and how ops::rpe_attention computes it.
class RivalRpe : public Module {
 public:
  RivalRpe(Scope scope, const ops::RpeConfig& c) : Module(std::move(scope)), config(c) {}
  const ops::RpeConfig config;
  virtual ops::RpeTables tables(Dtype dtype) const = 0;
  /// What takes the place of q [B, H, N, d].
  virtual Tensor query(const Tensor& q) const { return q; }
};

/// @param heads  divides dim
/// @throws ValueError if the head size (sasa: even) or dim (transformer_xl: a multiple of 4) does not fit
std::unique_ptr<RivalRpe> make_rival(Scope scope, Rival rival, int64_t dim, int64_t heads, const TokenGrid& grid);

}  // namespace vitrine::nn
