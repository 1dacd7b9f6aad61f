#pragma once
#include "models/classifier.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/patch_embed.h"

/// Swin Transformer (Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021),
/// and with image RPE in its windows (Wu et al., ICCV 2021, supplement 6). Names, initial values and the place of the
/// downsampling, at the end of a stage, are those of the authors' program; timm moved it to the start of the next.
namespace vitrine::models {

struct SwinConfig {
  std::string name;
  int64_t image_size = 224, patch_size = 4, channels = 3, num_classes = 1000;
  int64_t dim = 96;  ///< of the first stage; each stage has twice the channels and half the side of the one before
  std::vector<int64_t> depths = {2, 2, 6, 2}, heads = {3, 6, 12, 24};  ///< of each stage
  int64_t window = 7, mlp_ratio = 4;
  bool bias = true;                        ///< Swin's own relative position bias
  std::optional<ops::RpeConfig> rpe = {};  ///< in place of it: an encoding inside each window, its tables per block
  Ape ape = Ape::none;
  double drop_path = 0, dropout = 0;

  int64_t stages() const { return int64_t(depths.size()); }
  int64_t side(int64_t stage) const { return image_size / patch_size >> stage; }  ///< of the stage's grid of tokens
};

/// The presets: tiny, small, base; base at 384; tiny with contextual RPE; small ones for 28 and 32 pixel images.
const std::vector<SwinConfig>& swin_presets();

/// A stage's tokens and how a block cuts them: the authors do not cut or shift a grid that one window covers.
struct SwinWindows {
  int64_t side, size, shift;
  int64_t per_side() const { return (side + size - 1) / size; }
  int64_t count() const { return per_side() * per_side(); }
  int64_t tokens() const { return size * size; }  ///< of one window
};

/// Self-attention within windows: of Attention (nn/attention.h) with Swin's bias b[dr, dc] of each head added to the
/// logits, dr and dc being query minus key, or with iRPE on any of q, k, v.
struct WindowAttention final : nn::Layer<WindowAttention> {
  int64_t heads, window;
  nn::Parameter relative_position_bias_table;  ///< [(2M - 1)^2, heads], M = window; undefined without that bias
  nn::Linear qkv, proj;
  std::optional<nn::Rpe> rpe_q, rpe_k, rpe_v;

  WindowAttention(nn::Scope scope, const SwinConfig& config, int64_t dim, int64_t heads, int64_t window);
  /// @param x     [B nW, M M, C]
  /// @param seen  bool [nW, 1, M M, M M]: which keys a query sees in each window of an image; undefined: all
  Tensor forward(const Tensor& x, const Tensor& seen);

 private:
  ops::RpeConfig encoding_;
  nn::Dropout proj_drop_;
};

/// x = x + drop_path(merge(attn(partition(norm1(x))))); x = x + drop_path(mlp(norm2(x)))
///
/// In a shifted block the windows at the lower and right border hold tokens from opposite sides of the image, which do
/// not see each other. The authors add -100 to their logits (`attn_mask`, which state_dict has for their sake); here
/// they are left out, as far as f32 can tell the same: exp(-100) is 4e-44, so it would take a logit 80 above those
/// that are seen to move the last bit.
///
/// Can be watched: "stream" and "attended", the residual stream as the attention and as the MLP find it.
struct SwinBlock final : nn::Layer<SwinBlock> {
  SwinWindows windows;
  nn::LayerNorm norm1;
  WindowAttention attn;
  nn::LayerNorm norm2;
  nn::Mlp mlp;

  SwinBlock(nn::Scope scope, const SwinConfig& config, int64_t stage, int64_t index, double drop_path);
  /// @param x         [B, L, C], the residual stream
  /// @param residual  [B, L, C], a branch still to be added to it; undefined: none. Adding it and norm1 are one pass
  /// @return          {the stream, the branch of the MLP}, whose sum is the block's result
  std::array<Tensor, 2> forward(const Tensor& x, const Tensor& residual);

 private:
  Tensor seen_;
  nn::DropPath drop_path_;
};

/// Four neighbours become one token of twice the channels: reduction(norm(their concatenation)).
struct PatchMerging final : nn::Layer<PatchMerging> {
  struct Reduction final : nn::Layer<Reduction> {
    nn::Parameter weight;  ///< [2C, 4C]; there is no bias
    ops::PackedFactor packed;
    Reduction(nn::Scope scope, int64_t dim)
        : Layer(std::move(scope)), weight(param("weight", {2 * dim, 4 * dim}, nn::init::truncated_normal())) {}
    Tensor forward(const Tensor& x) { return ops::linear(x, weight.as(x.dtype()), {}, &packed); }
  };
  int64_t side;
  Reduction reduction;
  nn::LayerNorm norm;

  PatchMerging(nn::Scope scope, int64_t side, int64_t dim);
  /// @param x  [B, side side, C]
  /// @return   [B, (side/2) (side/2), 2C]
  Tensor forward(const Tensor& x);
};

/// Blocks, every second one shifted by half a window, and the step to the next stage.
struct SwinStage final : nn::Layer<SwinStage> {
  nn::ModuleList<SwinBlock> blocks;
  std::optional<PatchMerging> downsample;  ///< of all but the last stage

  SwinStage(nn::Scope scope, const SwinConfig& config, int64_t stage);
  /// @param x  [B, L, C]
  /// @return   {x, branch} to be added; after a downsampling [B, L/4, 2C] and no branch
  std::array<Tensor, 2> forward(const Tensor& x);
};

struct Swin final : nn::Layer<Swin, Classifier> {
  struct Embedding final : nn::Layer<Embedding> {
    nn::PatchEmbed::Projection proj;
    nn::LayerNorm norm;
    Embedding(nn::Scope scope, const SwinConfig& config);
    Tensor forward(const Tensor& images);
  };
  SwinConfig config;
  nn::Parameter absolute_pos_embed;  ///< only if ape is learned
  Embedding patch_embed;
  nn::ModuleList<SwinStage> layers;
  nn::LayerNorm norm;
  nn::Linear head;

  /// @throws ValueError if the sizes do not fit
  Swin(nn::Scope scope, const SwinConfig& config);
  /// Logits [B, classes], of the mean over tokens. @throws ShapeError unless images is [B, 3, S, S]
  Tensor forward(const Tensor& images);

  Tensor logits(const Tensor& images) override { return (*this)(images); }
  int64_t image_size() const override { return config.image_size; }
  int64_t num_classes() const override { return config.num_classes; }
  nn::TokenGrid grid() const override { return {config.side(0), config.side(0), 0}; }
  std::vector<LayerCost> costs() const override;

 private:
  nn::Dropout pos_drop_;
};

}  // namespace vitrine::models
