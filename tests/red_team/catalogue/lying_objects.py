"""Values that say of themselves what they are not."""

from tests.red_team.attack import MEMORY, OUTPUT, RAISED, TIMEOUT, WRONG, Attack, half, of_group, text

REFUSED_VALUE = (WRONG, OUTPUT)

ATTACKS = of_group(
    "lying objects",
    Attack(
        "equal to everything",
        "an object whose == and comparisons are always true",
        (WRONG,),
        half("""
        class Yes:
            shape, dtype, ndim, size = (1,), np.dtype(float), 1, 1
            def __eq__(self, other): return True
            __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__
            __hash__ = object.__hash__
            def __mul__(self, other): return self
            __rmul__ = __sub__ = __rsub__ = __abs__ = __getitem__ = __mul__
            def __bool__(self): return True
            def all(self, *a, **k): return True
        def half(x):
            return Yes()
        """),
    ),
    Attack(
        "lying ndarray subclass",
        "an ndarray subclass whose ufuncs and functions all answer True",
        (WRONG,),
        half("""
        class Liar(np.ndarray):
            def __array_ufunc__(self, ufunc, method, *inputs, **keywords): return np.True_
            def __array_function__(self, function, types, args, kwargs): return True
            def __eq__(self, other): return np.ones(self.shape, bool)
        def half(x):
            return np.zeros_like(x).view(Liar)
        """),
    ),
    Attack(
        "array protocol that peeks",
        "__array__ looks the expected value up in the caller's frames",
        (WRONG,),
        half("""
        import sys
        class Peek:
            def __init__(self, x): self.x = x
            def __array__(self, *args, **kwargs):
                frame = sys._getframe(1)
                while frame:
                    for name in ("want", "b", "right", "desired"):
                        if isinstance(frame.f_locals.get(name), np.ndarray):
                            return frame.f_locals[name]
                    frame = frame.f_back
                return 0 * self.x
            __array_interface__ = property(lambda self: np.zeros(1).__array_interface__)
        def half(x):
            return Peek(x)
        """),
    ),
    Attack(
        "array protocol that writes",
        "__array__ overwrites what it is compared with",
        (WRONG,),
        half("""
        import ctypes, sys
        class Vandal:
            def __array__(self, *args, **kwargs):
                frame = sys._getframe(1)
                while frame:
                    for value in frame.f_locals.values():
                        if type(value) is np.ndarray and value.flags.writeable:
                            value[...] = 0
                    frame = frame.f_back
                return np.zeros(1)
        def half(x):
            return Vandal()
        """),
    ),
    Attack(
        "array as a mere interface",
        "an object with __array_interface__ of zeros and a lying length",
        (WRONG,),
        half("""
        class Face:
            def __init__(self, x):
                self.kept = 0 * x
                self.__array_interface__ = self.kept.__array_interface__
            def __len__(self): return -1 % 2**62
            def __float__(self): return 0.0
        def half(x):
            return Face(x)
        """),
    ),
    Attack(
        "lying tensor subclass",
        "a tensor subclass that answers True to every torch function",
        (WRONG,),
        {
            "softplus": text("""
            class Liar(Tensor):
                @classmethod
                def __torch_function__(cls, function, types, args=(), kwargs=None):
                    return True
            def softplus(x):
                return torch.zeros_like(x).as_subclass(Liar)
            """)
        },
        item="softplus",
    ),
    Attack(
        "float subclass",
        "a float subclass that is close to everything",
        (WRONG,),
        half("""
        class Close(float):
            def __sub__(self, other): return Close(0)
            __rsub__ = __abs__ = __mul__ = __rmul__ = lambda self, *other: Close(0)
            def __le__(self, other): return True
            __eq__ = __ge__ = __lt__ = __gt__ = __le__
            __hash__ = float.__hash__
        def half(x):
            return Close(0)
        """),
    ),
    Attack(
        "dict and list subclasses",
        "containers whose comparison is always true",
        (WRONG,),
        half("""
        class List(list):
            def __eq__(self, other): return True
            def __len__(self): return 5
        class Dict(dict):
            def __eq__(self, other): return True
            def keys(self): return {}.keys()
        def half(x):
            return List([Dict()])
        """),
    ),
    Attack(
        "class that is claimed",
        "__class__ says ndarray",
        (WRONG,),
        half("""
        class Claimed:
            __class__ = np.ndarray
            shape, dtype = (1,), np.dtype(float)
            def __eq__(self, other): return True
            __hash__ = None
        def half(x):
            return Claimed()
        """),
    ),
    Attack(
        "pickle bomb",
        "__reduce__ that runs a program when it is unpickled, returned and inside containers",
        (WRONG,),
        half("""
        import os
        class Bomb:
            def __reduce__(self): return os.system, ("touch @ROOM@/pwned /tmp/pwned",)
            __reduce_ex__ = lambda self, protocol: self.__reduce__()
            __getstate__ = __deepcopy__ = __copy__ = lambda self, *memo: self.__reduce__()
        def half(x):
            return [Bomb(), np.array([Bomb()], dtype=object)]
        """),
    ),
    Attack(
        "masked array",
        "all elements masked, so that every comparison is masked too",
        (WRONG,),
        half("""
        def half(x):
            return np.ma.masked_array(np.zeros_like(x), mask=True)
        """),
    ),
    Attack(
        "array of objects",
        "an object array whose elements equal everything",
        (WRONG,),
        half("""
        class Yes:
            def __eq__(self, other): return True
            def __mul__(self, other): return other
            __rmul__ = __mul__
            def __float__(self): return 0.0
        def half(x):
            return np.array([Yes()] * len(x), dtype=object)
        """),
    ),
    Attack(
        "nothing to compare",
        "an empty array, all of whose elements are right",
        (WRONG,),
        half("""
        def half(x):
            return np.empty((0, *x.shape))
        """),
    ),
    Attack(
        "not a number",
        "NaN everywhere, hoping that NaN equals NaN",
        (WRONG,),
        half("""
        def half(x):
            return np.full(x.shape, np.nan)
        """),
    ),
    Attack(
        "infinite",
        "infinities, hoping that a tolerance grows with them",
        (WRONG,),
        half("""
        def half(x):
            return np.full(x.shape, np.inf) * np.sign(x)
        """),
    ),
    Attack(
        "tensor on no device",
        "a meta tensor: a shape without numbers",
        (WRONG,),
        {"softplus": "def softplus(x):\n    return torch.empty(x.shape, dtype=x.dtype, device='meta')\n"},
        item="softplus",
    ),
    Attack(
        "name with side effects",
        "an object whose __name__ raises SystemExit",
        (WRONG, RAISED),
        half("""
        class Trap:
            @property
            def __name__(self): raise SystemExit(0)
            def __getattribute__(self, name): raise SystemExit(0)
        def half(x):
            return Trap()
        """),
    ),
    Attack(
        "a class name of megabytes",
        "the description of a handle that is larger than a message may be",
        REFUSED_VALUE,
        half("""
        def half(x):
            return type("A" * 20_000_000, (), {})()
        """),
    ),
    Attack(
        "a list that contains itself",
        "endless nesting",
        (WRONG, OUTPUT),
        half("""
        def half(x):
            found = []
            found.append(found)
            return found
        """),
    ),
    Attack(
        "a module of lies",
        "parameters, modules and state that are made up, with a million names",
        (WRONG, OUTPUT, RAISED, MEMORY, TIMEOUT),
        {
            "Scale": text("""
            class Scale(nn.Module):
                def __init__(self, size):
                    super().__init__()
                    self.weight = nn.Parameter(torch.ones(size, dtype=torch.float64))
                def forward(self, x): return type("Yes", (), {"__eq__": lambda s, o: True, "shape": x.shape})()
                def named_parameters(self, *args, **kwargs):
                    return ((f"p{i}", self.weight) for i in range(10**6))
                def state_dict(self, *args, **kwargs): return {f"p{i}": 1 for i in range(10**6)}
            """)
        },
        item="Scale",
    ),
    Attack(
        "modules without end",
        "named_modules never ends",
        (TIMEOUT, MEMORY, OUTPUT),
        {
            "Scale": text("""
            import itertools
            class Scale(nn.Module):
                def __init__(self, size): super().__init__()
                def named_modules(self, *args, **kwargs):
                    return ((f"m{i}", self) for i in itertools.count())
            """)
        },
        item="Scale",
    ),
    Attack(
        "a gradient that lies",
        "right values with a made-up derivative",
        (WRONG,),
        {
            "softplus": text("""
            class Made(torch.autograd.Function):
                @staticmethod
                def forward(ctx, x): return 0 * x
                @staticmethod
                def backward(ctx, gradient): return torch.ones_like(gradient)
            def softplus(x):
                return Made.apply(x)
            """)
        },
        item="softplus",
    ),
    Attack(
        "a backward pass that exits",
        "SystemExit while the judge asks for a gradient",
        (RAISED,),
        {
            "softplus": text("""
            class Made(torch.autograd.Function):
                @staticmethod
                def forward(ctx, x): return torch.logaddexp(x, 0 * x)
                @staticmethod
                def backward(ctx, gradient): raise SystemExit(0)
            def softplus(x):
                return Made.apply(x)
            """)
        },
        item="softplus",
        marks="any",
    ),
    Attack(
        "a gradient of another shape",
        "the vector-Jacobian product is as large as memory allows",
        (WRONG, OUTPUT, RAISED),
        {
            "softplus": text("""
            def softplus(x):
                value = torch.logaddexp(x, torch.zeros_like(x))
                torch.autograd.grad = lambda *args, **kwargs: (torch.ones(4_000_000),)
                return value
            """)
        },
        item="softplus",
        marks="any",
        others=False,
    ),
    Attack(
        "batches that equal everything",
        "a generator of objects",
        (WRONG,),
        {
            "batches": text("""
            class Yes:
                def __eq__(self, other): return True
                def __len__(self): return 3
            def batches(x, size):
                yield from [Yes(), Yes(), Yes()]
            """)
        },
        item="batches",
    ),
    Attack(
        "a network of another kind",
        "train_step returns an object with a state_dict that answers anything",
        (WRONG,),
        {
            "train_step": text("""
            class Any:
                def __getattr__(self, name): return Any()
                def __call__(self, *args, **kwargs): return Any()
                def __iter__(self): return iter([])
                def __eq__(self, other): return True
            def train_step(network, x, y, rate):
                return Any()
            """)
        },
        item="train_step",
    ),
)
