#pragma once
#include <algorithm>

#include "models/classifier.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/patch_embed.h"
#include "nn/peg.h"

/// DeiT (Touvron et al., "Training data-efficient image transformers & distillation through attention", 2021), with
/// image RPE (Wu et al., 2021). Names and initial values are those of the reference program.
namespace vitrine::models {

struct DeiTConfig {
  std::string name;
  int64_t image_size = 224, patch_size = 16, channels = 3, num_classes = 1000;
  int64_t dim = 192, depth = 12, heads = 3, mlp_ratio = 4;
  bool distilled = false;
  std::optional<ops::RpeConfig> rpe = {};
  nn::Rival rival = nn::Rival::none;  ///< an earlier method in place of rpe
  Ape ape = Ape::learned;
  double drop_path = 0, dropout = 0;

  int64_t skip() const { return distilled ? 2 : 1; }
  int64_t side() const { return image_size / patch_size; }
  nn::TokenGrid grid() const { return {side(), side(), skip()}; }
  /// CPVT-x(0-5): after each of the blocks 0 to 4. None after the last one, which only the extra tokens leave.
  int64_t generators() const { return ape == Ape::peg ? std::min<int64_t>(5, depth - 1) : 0; }
};

/// The presets: Ti, S, B at 224 and 384, plain and distilled; ViT-B and ViT-L at 384; the nine of iRPE; the methods
/// that it was compared with; small ones for 28 and 32 pixel images.
const std::vector<DeiTConfig>& deit_presets();

/// x = x + drop_path(attn(norm1(x))); x = x + drop_path(mlp(norm2(x)))
///
/// Can be watched: "stream" and "attended", the residual stream as the attention and as the MLP find it.
struct Block final : nn::Layer<Block> {
  nn::LayerNorm norm1;
  nn::Attention attn;
  nn::LayerNorm norm2;
  nn::Mlp mlp;

  Block(nn::Scope scope, const DeiTConfig& config, double drop_path);
  /// @param x         [B, N, C], the residual stream
  /// @param residual  [B, N, C], a branch still to be added to it; undefined: none. Adding it and norm1 are one pass
  /// @return          {the stream, the branch of the MLP}, whose sum is the block's result
  std::array<Tensor, 2> forward(const Tensor& x, const Tensor& residual);

 private:
  nn::DropPath drop_path_;
};

struct DeiT final : nn::Layer<DeiT, Classifier> {
  DeiTConfig config;
  nn::Parameter cls_token, dist_token, pos_embed;  // dist_token only if distilled, pos_embed unless ape is none or peg
  nn::PatchEmbed patch_embed;
  nn::ModuleList<Block> blocks;
  nn::ModuleList<nn::PositionGenerator> pos_block;  // none unless ape is peg
  nn::LayerNorm norm;
  nn::Linear head;
  std::optional<nn::Linear> head_dist;

  /// @throws ValueError if the sizes do not fit
  DeiT(nn::Scope scope, const DeiTConfig& config);
  /// {logits of the class token, of the distillation token (undefined unless distilled)}
  std::array<Tensor, 2> forward_heads(const Tensor& images);
  /// Logits [B, classes]; of a distilled model both heads', joined as `fusion` says.
  /// @throws ShapeError unless images is [B, 3, S, S]
  Tensor forward(const Tensor& images);

  Tensor logits(const Tensor& images) override { return (*this)(images); }
  bool distilled() const override { return config.distilled; }
  std::array<Tensor, 2> heads(const Tensor& images) override { return forward_heads(images); }
  int64_t image_size() const override { return config.image_size; }
  int64_t num_classes() const override { return config.num_classes; }
  nn::TokenGrid grid() const override { return config.grid(); }
  std::vector<LayerCost> costs() const override;

 private:
  Tensor embed(const Tensor& images);
  nn::Dropout pos_drop_;
};

}  // namespace vitrine::models
