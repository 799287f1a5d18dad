"""The three networks of Stable Diffusion 1.x in any width, with the tensor names of its file.

Because the modules carry the file's names, a state_dict is the file, but for prefixes.
"""
import math
import torch
import torch.nn.functional as F
from torch import nn

# name: text width and layers, UNet and autoencoder channels. Norms have 32 groups: a stream of 32
# channels would be instance norm, which forgets how bright a channel is.
SIZES = {
    "small": dict(text=128, layers=3, unet=(64, 96, 128, 96), vae=(64, 64, 64, 128)),  # 36 MB
    "second": dict(text=128, layers=3, unet=(64, 128, 160, 128), vae=(64, 64, 64, 128)),  # 47 MB
}
HEADS = 8


def norm(channels, eps=1e-5):
    return nn.GroupNorm(32, channels, eps=eps)


class Sequence(nn.ModuleList):
    """The layers of one numbered block, each called with what it needs."""

    def forward(self, x, emb, context):
        for layer in self:
            if isinstance(layer, UNetResnet):
                x = layer(x, emb)
            elif isinstance(layer, Transformer):
                x = layer(x, context)
            else:
                x = layer(x)
        return x


class UNetResnet(nn.Module):
    def __init__(self, cin, cout, emb):
        super().__init__()
        self.in_layers = nn.Sequential(norm(cin), nn.SiLU(), nn.Conv2d(cin, cout, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, cout))
        self.out_layers = nn.Sequential(norm(cout), nn.SiLU(), nn.Identity(),
                                        nn.Conv2d(cout, cout, 3, padding=1))
        self.skip_connection = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()
        nn.init.zeros_(self.out_layers[3].weight)

    def forward(self, x, emb):
        h = self.in_layers(x) + self.emb_layers(emb)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(h)


class Attention(nn.Module):
    def __init__(self, width, context):
        super().__init__()
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(self, x, context):
        q, k, v = (f(t).unflatten(-1, (HEADS, -1)).transpose(1, 2)
                   for f, t in ((self.to_q, x), (self.to_k, context), (self.to_v, context)))
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Gate(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.proj = nn.Linear(width, 8 * width)

    def forward(self, x):
        a, b = self.proj(x).chunk(2, -1)
        return a * F.gelu(b)


class Block(nn.Module):
    def __init__(self, width, context):
        super().__init__()
        self.attn1, self.attn2 = Attention(width, width), Attention(width, context)
        self.ff = nn.ModuleDict({"net": nn.Sequential(Gate(width), nn.Identity(),
                                                      nn.Linear(4 * width, width))})
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, x, context):
        n = self.norm1(x)
        x = x + self.attn1(n, n)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff["net"](self.norm3(x))


class Transformer(nn.Module):
    def __init__(self, width, context):
        super().__init__()
        self.norm = norm(width, 1e-6)
        self.proj_in, self.proj_out = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([Block(width, context)])
        nn.init.zeros_(self.proj_out.weight)

    def forward(self, x, context):
        h = self.proj_in(self.norm(x))
        t = self.transformer_blocks[0](h.flatten(2).transpose(1, 2), context)
        return x + self.proj_out(t.transpose(1, 2).unflatten(2, x.shape[2:]))


class Down(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.op = nn.Conv2d(width, width, 3, stride=2, padding=1)
        nn.init.dirac_(self.op.weight)

    def forward(self, x):
        return self.op(x)


class Up(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        nn.init.dirac_(self.conv.weight)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0))


class UNet(nn.Module):
    def __init__(self, widths, context):
        super().__init__()
        w0, emb = widths[0], 4 * widths[0]
        self.time_embed = nn.Sequential(nn.Linear(w0, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.input_blocks = nn.ModuleList([Sequence([nn.Conv2d(4, w0, 3, padding=1)])])
        c, skips = w0, [w0]
        for level, w in enumerate(widths):
            for _ in range(2):
                layers = [UNetResnet(c, w, emb)] + [Transformer(w, context)] * (level < 3)
                self.input_blocks.append(Sequence(layers))
                c = w
                skips.append(c)
            if level < 3:
                self.input_blocks.append(Sequence([Down(c)]))
                skips.append(c)
        self.middle_block = Sequence([UNetResnet(c, c, emb), Transformer(c, context),
                                      UNetResnet(c, c, emb)])
        self.output_blocks = nn.ModuleList()
        for level, w in reversed(list(enumerate(widths))):
            for i in range(3):
                layers = [UNetResnet(c + skips.pop(), w, emb)]
                layers += [Transformer(w, context)] * (level < 3) + [Up(w)] * (i == 2 and level > 0)
                self.output_blocks.append(Sequence(layers))
                c = w
        self.out = nn.Sequential(norm(c), nn.SiLU(), nn.Conv2d(c, 4, 3, padding=1))
        nn.init.zeros_(self.out[2].weight)

    def forward(self, x, t, context):
        half = self.time_embed[0].in_features // 2
        angle = t[:, None].float() * torch.exp(
            -math.log(10000) / half * torch.arange(half, device=t.device))
        emb = self.time_embed(torch.cat([angle.cos(), angle.sin()], 1).to(x.dtype))
        skips = []
        for block in self.input_blocks:
            x = block(x, emb, context)
            skips.append(x)
        x = self.middle_block(x, emb, context)
        for block in self.output_blocks:
            x = block(torch.cat([x, skips.pop()], 1), emb, context)
        return self.out(x)


class Resnet(nn.Module):
    """The autoencoder's: no timestep."""

    def __init__(self, cin, cout):
        super().__init__()
        self.norm1, self.norm2 = norm(cin, 1e-6), norm(cout, 1e-6)
        self.conv1 = nn.Conv2d(cin, cout, 3, padding=1)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1)
        if cin != cout:
            self.nin_shortcut = nn.Conv2d(cin, cout, 1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x):
        h = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class SpatialAttention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = norm(width, 1e-6)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))
        nn.init.zeros_(self.proj_out.weight)

    def forward(self, x):
        n = self.norm(x)
        q, k, v = (f(n).flatten(2).transpose(1, 2)[:, None] for f in (self.q, self.k, self.v))
        a = F.scaled_dot_product_attention(q, k, v)[:, 0]
        return x + self.proj_out(a.transpose(1, 2).unflatten(2, x.shape[2:]))


class HalfPad(nn.Module):
    """Downsampling that pads right and below only, as the file's layout has it."""

    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)
        nn.init.dirac_(self.conv.weight)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Coder(nn.Module):
    """Encoder and decoder are alike: levels of resnets, with a middle at the deep end."""

    def __init__(self, widths, cin, cout, up):
        super().__init__()
        last = widths[-1]
        self.is_up = up
        self.conv_in = nn.Conv2d(cin, last if up else widths[0], 3, padding=1)
        self.mid = nn.ModuleDict({"block_1": Resnet(last, last), "attn_1": SpatialAttention(last),
                                  "block_2": Resnet(last, last)})
        levels, c = [None] * 4, last if up else widths[0]
        for i in reversed(range(4)) if up else range(4):
            level = nn.ModuleDict({"block": nn.ModuleList()})
            for _ in range(3 if up else 2):
                level["block"].append(Resnet(c, widths[i]))
                c = widths[i]
            if up and i > 0:
                level["upsample"] = Up(c)
            if not up and i < 3:
                level["downsample"] = HalfPad(c)
            levels[i] = level
        setattr(self, "up" if up else "down", nn.ModuleList(levels))
        self.norm_out, self.conv_out = norm(c, 1e-6), nn.Conv2d(c, cout, 3, padding=1)

    def middle(self, x):
        return self.mid["block_2"](self.mid["attn_1"](self.mid["block_1"](x)))

    def forward(self, x):
        x = self.conv_in(x)
        if self.is_up:
            x = self.middle(x)
        for level in reversed(self.up) if self.is_up else self.down:
            for block in level["block"]:
                x = block(x)
            for step in ("upsample", "downsample"):
                if step in level:
                    x = level[step](x)
        if not self.is_up:
            x = self.middle(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Autoencoder(nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.encoder, self.decoder = Coder(widths, 3, 8, False), Coder(widths, 4, 3, True)
        self.quant_conv, self.post_quant_conv = nn.Conv2d(8, 8, 1), nn.Conv2d(4, 4, 1)
        with torch.no_grad():  # begin nearly without noise: otherwise nothing fine is learnt
            self.quant_conv.bias[4:] -= 5

    def encode(self, x):
        """Mean and log variance."""
        mean, var = self.quant_conv(self.encoder(x)).float().chunk(2, 1)
        return mean, var.clamp(-30, 20)

    def decode(self, z):
        return self.decoder(self.post_quant_conv(z))


class TextLayer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.self_attn = nn.ModuleDict({f"{n}_proj": nn.Linear(width, width)
                                        for n in ("q", "k", "v", "out")})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width),
                                  "fc2": nn.Linear(4 * width, width)})
        nn.init.zeros_(self.self_attn["out_proj"].weight)
        nn.init.zeros_(self.mlp["fc2"].weight)

    def forward(self, x):
        n, a = self.layer_norm1(x), self.self_attn
        q, k, v = (a[m + "_proj"](n).unflatten(-1, (-1, 64)).transpose(1, 2) for m in "qkv")
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + a["out_proj"](h)
        h = self.mlp["fc1"](self.layer_norm2(x))
        return x + self.mlp["fc2"](h * torch.sigmoid(1.702 * h))


class Text(nn.Module):
    """CLIP's text encoder. While it is trained, the table of tokens is fixed (text.py: it knows
    which words are alike) and what is learnt is one turn of it for all words together, so that
    words never seen move along with those that are, and of each token that captions hold (`used`) a
    difference of its own; table() is what comes of both, as the file has it.
    """

    def __init__(self, width, layers, used=()):
        super().__init__()
        self.register_buffer("tokens", torch.zeros(49408, width))
        slot = torch.full((49408,), len(used))
        slot[torch.as_tensor(used, dtype=torch.long)] = torch.arange(len(used))
        self.register_buffer("slot", slot, persistent=False)
        if len(used):
            self.own = nn.Parameter(torch.zeros(len(used) + 1, width))  # the last is for no token
        self.turn = nn.Linear(width, width, bias=False)
        with torch.no_grad():  # large beside what layers add, so that words stay distinct
            nn.init.eye_(self.turn.weight).mul_(8)
        self.embeddings = nn.ModuleDict({"position_embedding": nn.Embedding(77, width)})
        nn.init.normal_(self.embeddings["position_embedding"].weight, std=.1)
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(TextLayer(width)
                                                              for _ in range(layers))})
        self.final_layer_norm = nn.LayerNorm(width)

    def read(self, ids):
        x = self.turn(self.tokens[ids])
        return x + F.embedding(self.slot[ids], self.own) if hasattr(self, "own") else x

    @staticmethod
    def moved(own, old, used):
        """Rows that were learnt of the tokens `old` in the places of the tokens `used`."""
        at = {token: i for i, token in enumerate(old)}
        some = torch.tensor([at.get(token, len(at)) for token in [*used, -1]], device=own.device)
        return torch.cat([own[:-1], 0 * own[-1:]])[some]

    def table(self):
        if hasattr(self, "own"):
            self.own[-1] = 0
        return self.read(torch.arange(len(self.tokens), device=self.tokens.device))

    def forward(self, ids):
        x = self.read(ids)
        x = x + self.embeddings["position_embedding"].weight[:ids.shape[1]]
        for layer in self.encoder["layers"]:
            x = layer(x)
        return self.final_layer_norm(x)


def carry(models, state):
    """Loads what has the same name and shape: a wider network keeps the words and the edges of a
    narrower one. Whether everything had."""
    mine = models.state_dict()
    same = {n: t.float() for n, t in state.items() if n in mine and mine[n].shape == t.shape}
    models.load_state_dict({**mine, **same})
    return len(same) == len(mine)
