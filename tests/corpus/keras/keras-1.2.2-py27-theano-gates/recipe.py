import os, sys
import numpy as np
order=sys.argv[1]
os.environ['KERAS_BACKEND']='theano'; os.environ['THEANO_FLAGS']='optimizer=fast_compile,cxx=,device=cpu,floatX=float32,base_compiledir=compiled'
from keras import backend as K
K.set_image_dim_ordering(order)
from keras.models import Sequential
from keras.layers import *
np.random.seed(3)
shape=(8,7,2) if order=='tf' else (2,8,7)
m=Sequential()
m.add(Convolution2D(3,3,2,input_shape=shape,name='conv_a',activation='tanh'))
m.add(BatchNormalization(name='bn_a',axis=-1 if order=='tf' else 1))
m.add(Convolution2D(3,3,3,name='conv_b'))
m.add(GlobalAveragePooling2D(name='pool'))
m.add(Dense(2,name='head'))
for l in m.layers:
    l.set_weights([np.random.uniform(.2,1,w.shape).astype('f4') for w in l.get_weights()])
x=np.random.normal(size=(4,)+shape).astype('f4')
m.save('cnn_%s.h5'%order); m.save_weights('cnn_%s_w.h5'%order); np.savez('cnn_%s.npz'%order,x=x,y=m.predict(x))
m=Sequential()
m.add(Embedding(11,3,input_length=6,name='words'))
m.add(Convolution1D(4,3,name='line'))
m.add(LSTM(5,return_sequences=True,name='lstm',inner_activation='sigmoid'))
m.add(Bidirectional(GRU(3,return_sequences=True,name='gru',inner_activation='sigmoid'),name='both'))
m.add(TimeDistributed(Dense(3,name='inner'),name='each'))
m.add(Flatten())
m.add(Dense(2,name='head'))
for l in m.layers:
    l.set_weights([np.random.uniform(-.5,.5,w.shape).astype('f4') for w in l.get_weights()])
x=np.random.randint(0,11,size=(4,6))
m.save('rnn_%s.h5'%order); np.savez('rnn_%s.npz'%order,x=x,y=m.predict(x))
